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

from django_sidekick.conf import Settings, get_settings
from django_sidekick.exceptions import MalformedPayload, Shutdown
from django_sidekick.feature import Feature, Layer, load_features
from django_sidekick.jobs.failures import Failures
from django_sidekick.jobs.registry import JOBS, resolve
from django_sidekick.middleware import (
    DatabaseConnections,
    Handler,
    compose,
    current_job,
    load_layers,
)
from django_sidekick.wire import arguments, codec, ruby
from django_sidekick.wire.outcome import Delivery, Outcome
from django_sidekick.wire.payload import new_jid, parse

logger = logging.getLogger("sidekick")
_runners = threading.local()
_new = tuple.__new__
"""Makes an Outcome in a third of the time that its own __new__ takes: once a job."""

Execute = Callable[[Delivery, float], Outcome]
"""Takes a delivery and when it began, time.perf_counter()."""


class Executor:
    """Runs deliveries. Composed once; `layers` go outside of all others."""

    def __init__(
        self, settings: Settings, features: Sequence[Feature] = (), layers: Sequence[Layer] = ()
    ) -> None:
        self._chain = _chain(settings, features, layers)
        self._failures = Failures(settings)
        self._connections = DatabaseConnections(settings.worker_conn_max_age_s)
        self._follow_ups = [feature.follow_ups for feature in features if feature.follow_ups]
        self._run = self._straight()
        self.execute: Execute = self._run_and_follow if self._follow_ups else self._run

    def __call__(self, delivery: Delivery) -> Outcome:
        """Run one delivery that begins now."""
        return self.execute(delivery, time.perf_counter())

    def _straight(self) -> Execute:
        """Return the function of the hot path: everything it needs is a local name."""
        chain, connections, classes = self._chain, self._connections, JOBS
        now, clock, loads, enter = time.time, time.perf_counter, codec.loads, current_job.set

        def execute(delivery: Delivery, began: float) -> Outcome:
            """Raise nothing but Shutdown: whatever a payload, a layer, a job or a hook does is an outcome.

            An error of any kind, SystemExit and KeyboardInterrupt included, is the job's failure.
            """
            started_at_s = now()
            try:
                payload = loads(delivery[2])
                job = classes[payload["class"]]()
                job.payload = payload
                if type(payload["args"]) is not list:
                    raise TypeError
            except Exception:  # noqa: BLE001 which of the reasons it is costs more to tell
                return self._odd(delivery, began, started_at_s)
            enter(job)
            try:
                chain(job)
                outcome: Outcome = _new(
                    Outcome,
                    ("done", delivery, payload, started_at_s, clock() - began, None, None, 0.0, ()),
                )
            except Shutdown:
                raise
            except BaseException as error:  # whatever it is, it is this job's failure
                outcome = self._failed(delivery, payload, job, error)
                outcome = outcome._replace(started_at_s=started_at_s, duration_s=clock() - began)
            enter(None)
            if connections.opened_any:
                connections.look_after()
            return outcome

        return execute

    def _odd(self, delivery: Delivery, began: float, started_at_s: float) -> Outcome:
        """Run what the straight way could not: wrapped by Active Job, of an unknown class, or no job at all."""
        job: Any = None
        try:
            payload = parse(delivery.raw)
        except MalformedPayload as error:
            return self._failures.malformed(delivery, error, started_at_s)
        try:
            job = _resolve(payload)()
            job.payload = payload
            current_job.set(job)
            self._chain(job)
            outcome = Outcome("done", delivery, payload)
        except Shutdown:
            raise
        except BaseException as error:  # as above
            outcome = self._failed(delivery, payload, job, error)
        finally:
            current_job.set(None)
            self._connections.look_after()
        return outcome._replace(
            started_at_s=started_at_s, duration_s=time.perf_counter() - began
        )

    def _failed(
        self, delivery: Delivery, payload: dict[str, Any], job: Any, error: BaseException
    ) -> Outcome:
        return self._failures.outcome(delivery, payload, job, error)

    def _run_and_follow(self, delivery: Delivery, began: float) -> Outcome:
        outcome = self._run(delivery, began)
        commands = tuple(command for follow in self._follow_ups for command in follow(outcome))
        return outcome._replace(follow_ups=commands) if commands else outcome


def build_executor(
    settings: Settings, *, features: Sequence[Feature] = (), layers: Sequence[Layer] = ()
) -> Executor:
    """Return the executor of a worker. Raise ConfigurationError for a path that cannot be imported."""
    return Executor(settings, features, layers)


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
