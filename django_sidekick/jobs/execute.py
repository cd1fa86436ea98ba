"""The way in: a delivery becomes a job, runs, and ends as an outcome. No Redis here."""

from __future__ import annotations

import asyncio
import contextvars
import logging
import threading
import time
from collections.abc import Callable, Sequence
from functools import cache
from types import CoroutineType
from typing import Any

from django.utils.module_loading import import_string

from django_sidekick.conf import Settings, get_settings
from django_sidekick.exceptions import (
    ConfigurationError,
    Discard,
    MalformedPayload,
    Retry,
    Shutdown,
)
from django_sidekick.feature import Feature, Layer, load_features
from django_sidekick.jobs import retry
from django_sidekick.jobs.registry import JOBS, resolve
from django_sidekick.jobs.retry import Failure, RetryRules
from django_sidekick.middleware import (
    DatabaseConnections,
    Handler,
    JobContext,
    compose,
    load_layers,
)
from django_sidekick.wire import arguments, codec, ruby
from django_sidekick.wire.outcome import Delivery, Outcome
from django_sidekick.wire.payload import new_jid, parse, wrap_malformed

logger = logging.getLogger("sidekick")
_runners = threading.local()


def build_executor(
    settings: Settings, *, features: Sequence[Feature] = (), layers: Sequence[Layer] = ()
) -> Callable[[Delivery], Outcome]:
    """Return the function that runs one delivery. Composed once; `layers` go outside of all others.

    It raises nothing but Shutdown: whatever a payload, a layer, a job or a hook does becomes an outcome. An
    error of any kind, SystemExit and KeyboardInterrupt included, is the job's failure.
    """
    built_in = [JobContext().layer, DatabaseConnections(settings.worker_conn_max_age_s).layer]
    chain = _chain(settings, features, [*layers, *built_in])
    failures = Failures(settings)
    follow_ups = [feature.follow_ups for feature in features if feature.follow_ups]
    now, clock, known = time.time, time.perf_counter, JOBS.get

    def execute(delivery: Delivery) -> Outcome:
        began, started = clock(), now()
        job: Any = None
        try:
            payload = parse(delivery.raw)
        except MalformedPayload as error:
            return failures.malformed(delivery, error, started)
        try:
            name = payload["class"]
            job = (known(name) or _resolve(payload))()
            job.payload = payload
            chain(job)
        except Shutdown:
            raise
        except BaseException as error:  # whatever it is, it is this job's failure
            outcome = failures.outcome(delivery, payload, job, error)
            return outcome._replace(started_at_s=started, duration_s=clock() - began)
        return Outcome("done", delivery, payload, started, clock() - began)

    if not follow_ups:
        return execute

    def execute_and_follow(delivery: Delivery) -> Outcome:
        outcome = execute(delivery)
        commands = tuple(command for follow in follow_ups for command in follow(outcome))
        return outcome._replace(follow_ups=commands) if commands else outcome

    return execute_and_follow


def perform_now(job_class: type[Any], payload: dict[str, Any]) -> Any:
    """Run a job here through the server's layers, its arguments through their JSON form. Errors pass."""
    settings = get_settings()
    payload = codec.loads(codec.dumps({**payload, "jid": payload.get("jid") or new_jid()}))
    job = job_class()
    job.payload = payload
    return _inline_chain(settings)(job)


def perform(job: Any) -> Any:
    """Do the work, innermost of all layers: perform with the payload's arguments; run a coroutine to its end."""
    payload = job.payload
    if "kwargs" in payload or "sk_encoded" in payload or payload["class"] in ruby.WRAPPERS:
        args, kwargs = _arguments(payload)
        result = job.perform(*args, **kwargs)
    else:
        result = job.perform(*payload["args"])
    if type(result) is CoroutineType:
        return _run_coroutine(result)
    return result


def _run_coroutine(coroutine: CoroutineType[Any, Any, Any]) -> Any:
    """Run on an event loop that this thread keeps; each job in a context of its own."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        pass
    else:
        coroutine.close()
        raise RuntimeError("perform_now() of an async job inside a running event loop: await it there.")
    runner = getattr(_runners, "runner", None)
    if runner is None:
        runner = _runners.runner = asyncio.Runner()
    return runner.run(coroutine, context=contextvars.copy_context())


def _arguments(payload: dict[str, Any]) -> tuple[Sequence[Any], dict[str, Any]]:
    if payload["class"] in ruby.WRAPPERS:
        _, args, kwargs = ruby.unwrap(payload)
        return args, kwargs
    args, kwargs = payload["args"], payload.get("kwargs") or {}
    if payload.get("sk_encoded"):
        return arguments.load(args), arguments.load(kwargs)
    return args, kwargs


def _resolve(payload: dict[str, Any]) -> type[Any]:
    if ruby.is_wrapped(payload):
        return resolve(ruby.unwrap(payload)[0])
    return resolve(payload["class"])


def _chain(settings: Settings, features: Sequence[Feature], outside: Sequence[Layer]) -> Handler:
    layers = [*outside, *load_layers(settings.middleware, "MIDDLEWARE")]
    for feature in features:
        layers += feature.middleware
    return compose(layers, perform)


@cache
def _inline_chain(settings: Settings) -> Handler:
    """Without the worker's care for connections: here they are the caller's."""
    return _chain(settings, load_features(settings), [])


class Failures:
    """From an error to an outcome: the rules decide, the job's hooks are asked and told.

    A hook or handler that raises is logged; the job goes where it would have gone without it.
    """

    def __init__(self, settings: Settings) -> None:
        self._rules = RetryRules(settings.max_retries, settings.wire_times)
        self._handlers = _load_handlers(settings.error_handlers)

    def malformed(self, delivery: Delivery, error: MalformedPayload, now_s: float) -> Outcome:
        """Bury what is no job: raw, or wrapped if it is JSON of another kind, so that Ruby's pages can show it."""
        wrapped = wrap_malformed(delivery.raw, delivery.queue, now_s, self._rules.wire_times)
        logger.error("A malformed payload from queue %s is dead: %s", delivery.queue, error)
        self._tell_handlers(error, {"queue": delivery.queue, "raw": delivery.raw})
        return Outcome(
            "dead", delivery, None, now_s, 0.0, error, wrapped or delivery.raw, at_s=now_s
        )

    def outcome(
        self, delivery: Delivery, payload: dict[str, Any], job: Any, error: BaseException
    ) -> Outcome:
        """Decide where a failed job goes. The text is made of the payload as it was fetched, parsed anew."""
        now_s = time.time()
        if isinstance(error, Discard):
            return Outcome("discarded", delivery, payload, now_s, 0.0)
        original = parse(delivery.raw)
        failure = Failure(delivery.queue, error, now_s)
        fields = retry.with_error(original, failure, self._rules)
        self._tell_handlers(error, {"queue": delivery.queue, "payload": original, "job": job})
        if not retry.is_retried(original):
            return self._end("failed", delivery, fields, job, failure)
        if retry.is_exhausted(fields, now_s, self._rules):
            return self._exhausted(delivery, fields, job, failure)
        asked = error.wait_s if isinstance(error, Retry) else None
        if asked is None:
            asked = self._ask(job, "retry_in", fields["retry_count"], error)
        if asked == "discard":
            return self._end("discarded", delivery, fields, job, failure)
        if asked == "kill":
            return self._exhausted(delivery, fields, job, failure)
        exact = isinstance(error, Retry) and error.wait_s is not None
        wait_s = max(float(asked), 0.0) if exact else retry.delay_s(fields, asked, self._rules)
        return Outcome(
            "retry", delivery, payload, now_s, 0.0, error, _text(fields, delivery), now_s + wait_s
        )

    def _exhausted(
        self, delivery: Delivery, fields: dict[str, Any], job: Any, failure: Failure
    ) -> Outcome:
        said = self._ask(job, "retries_exhausted", failure.error)
        if said == "discard":
            return self._end("discarded", delivery, fields, job, failure)
        if fields.get("dead") is False:
            return self._end("failed", delivery, fields, job, failure)
        return self._end("dead", delivery, fields, job, failure)

    def _end(
        self, kind: Any, delivery: Delivery, fields: dict[str, Any], job: Any, failure: Failure
    ) -> Outcome:
        self._ask(job, "after_death", failure.error)
        member = _text(fields, delivery) if kind == "dead" else None
        return Outcome(
            kind, delivery, fields, failure.now_s, 0.0, failure.error, member, failure.now_s
        )

    def _ask(self, job: Any, hook: str, *values: Any) -> Any:
        if job is None:
            return None
        try:
            return getattr(job, hook)(*values)
        except Exception:  # a hook may fail; its job may not be lost by that
            logger.exception("%s of %s raised; it is passed over.", hook, job.name)
            return None

    def _tell_handlers(self, error: BaseException, context: dict[str, Any]) -> None:
        for handler in self._handlers:
            try:
                handler(error, context)
            except Exception:  # see _ask
                logger.exception("The error handler %r raised; it is passed over.", handler)


def _text(fields: dict[str, Any], delivery: Delivery) -> bytes:
    """What cannot be written again (a number beyond all bounds) goes on as it came."""
    try:
        return codec.dumps(fields)
    except (TypeError, ValueError):
        return delivery.raw


def _load_handlers(paths: Sequence[str]) -> list[Callable[[BaseException, dict[str, Any]], None]]:
    try:
        return [import_string(path) for path in paths]
    except ImportError as error:
        raise ConfigurationError(f"SIDEKICK['ERROR_HANDLERS']: {error}") from error
