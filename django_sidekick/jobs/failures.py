"""From an error to an outcome: what the rules decide, and what the job's hooks and the error handlers say."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from typing import Any, TypedDict

from django_sidekick.conf import Settings
from django_sidekick.exceptions import ConfigurationError, Discard, MalformedPayload, Retry
from django_sidekick.jobs import retry
from django_sidekick.jobs.current import current_job
from django_sidekick.jobs.registry import job_of
from django_sidekick.jobs.retry import Failure, RetryRules
from django_sidekick.loading import load_path
from django_sidekick.wire import codec
from django_sidekick.wire.outcome import Delivery, Outcome
from django_sidekick.wire.payload import parse, wrap_malformed

logger = logging.getLogger("sidekick")


class ErrorContext(TypedDict):
    """What ERROR_HANDLERS are told beside the error: docs/jobs.md."""

    queue: str
    raw: bytes
    """The payload as it was fetched."""
    payload: dict[str, Any] | None
    """None if it is no job."""
    job: Any
    """A BaseJob; None if nobody here knows its class."""


ErrorHandler = Callable[[BaseException, ErrorContext], None]


class Failures:
    """The rules decide, the job's hooks are asked and told.

    A hook or handler that raises is logged; the job goes where it would have gone without it.
    """

    def __init__(self, settings: Settings) -> None:
        self._rules = RetryRules(settings.max_retries, settings.wire_times)
        self._handlers = _load_handlers(settings.error_handlers)

    def malformed(self, delivery: Delivery, error: MalformedPayload, now_s: float) -> Outcome:
        """Bury what is no job: raw, or wrapped if it is JSON of another kind, so that Ruby's pages can show it."""
        wrapped = wrap_malformed(delivery.raw, delivery.queue, now_s, self._rules.wire_times)
        logger.error("A malformed payload from queue %s is dead: %s", delivery.queue, error)
        self._tell_handlers(error, _context(delivery))
        return Outcome("dead", delivery, None, now_s, 0.0, error, wrapped or delivery.raw, at_s=now_s)

    def outcome(self, delivery: Delivery, payload: dict[str, Any], job: Any, error: BaseException) -> Outcome:
        """Decide where a failed job goes. The text is made of the payload as it was fetched, parsed anew."""
        now_s = time.time()
        if isinstance(error, Discard):
            return Outcome("discarded", delivery, payload, now_s, 0.0)
        try:
            original = parse(delivery.raw)
        except MalformedPayload as malformed:  # so deep that here, a few calls further in, it is too deep
            return self.malformed(delivery, malformed, now_s)
        if job is not None and original.get("retry") is None and original.get("retry", True) is not job.retry:
            original["retry"] = job.retry  # the class says, as in Sidekiq; missing is True
        failure = Failure(delivery.queue, error, now_s)
        fields = retry.with_error(original, failure, self._rules)
        self._tell_handlers(error, _context(delivery, original, job))
        if not retry.is_retried(original):
            return self._end("failed", delivery, fields, job, failure)
        if retry.is_exhausted(fields, now_s, self._rules):
            return self._exhausted(delivery, fields, job, failure)
        wait_s = error.wait_s if isinstance(error, Retry) else None
        asked = None
        if wait_s is None:
            asked = self._ask(job, "retry_in", fields["retry_count"], error)
        if asked == "discard":
            return self._end("discarded", delivery, fields, job, failure)
        if asked == "kill":
            return self._exhausted(delivery, fields, job, failure)
        if wait_s is None:
            wait_s = retry.delay_s(fields, asked, self._rules)
        member = _text(fields)
        if member is None:
            return self._end("dead", delivery, fields, job, failure)
        return Outcome("retry", delivery, payload, now_s, 0.0, error, member, now_s + wait_s)

    def died(self, delivery: Delivery, error: BaseException) -> None:
        """Tell handlers and hooks of a job that was buried elsewhere. What they do or answer changes nothing."""
        payload = job = None
        try:
            payload = parse(delivery.raw)
            job = job_of(payload)
        except Exception:  # its class is not here, or cannot be made: the handlers hear of it all the same
            logger.debug("Nobody here knows the job: %r", delivery.raw, exc_info=True)
        current_job.set(job)
        try:
            self._tell_handlers(error, _context(delivery, payload, job))
            self._ask(job, "retries_exhausted", error)
            self._ask(job, "after_death", error)
        except BaseException:  # even SystemExit ends no thread that tells of others
            logger.exception("What is told of a job's death raised; it is passed over.")
        finally:
            current_job.set(None)

    def _exhausted(self, delivery: Delivery, fields: dict[str, Any], job: Any, failure: Failure) -> Outcome:
        said = self._ask(job, "retries_exhausted", failure.error)
        if said == "discard":
            return self._end("discarded", delivery, fields, job, failure)
        if fields.get("dead") is False:
            return self._end("failed", delivery, fields, job, failure)
        return self._end("dead", delivery, fields, job, failure)

    def _end(self, kind: Any, delivery: Delivery, fields: dict[str, Any], job: Any, failure: Failure) -> Outcome:
        self._ask(job, "after_death", failure.error)
        member = _text(fields) or delivery.raw if kind == "dead" else None
        return Outcome(kind, delivery, fields, failure.now_s, 0.0, failure.error, member, failure.now_s)

    def _ask(self, job: Any, hook: str, *values: Any) -> Any:
        if job is None:
            return None
        try:
            return getattr(job, hook)(*values)
        except BaseException:  # even by SystemExit a hook may fail; its job may not be lost by that
            logger.exception("%s of %s raised; it is passed over.", hook, job.name)
            return None

    def _tell_handlers(self, error: BaseException, context: ErrorContext) -> None:
        for handler in self._handlers:
            try:
                handler(error, context)
            except BaseException:  # see _ask
                logger.exception("The error handler %r raised; it is passed over.", handler)


def _context(delivery: Delivery, payload: dict[str, Any] | None = None, job: Any = None) -> ErrorContext:
    return {"queue": delivery.queue, "raw": delivery.raw, "payload": payload, "job": job}


def _text(fields: dict[str, Any]) -> bytes | None:
    """None for what could be read but not written again (nested too deeply): it goes to dead as it came.

    Never to retry, for without its count it would be retried for ever.
    """
    try:
        return codec.dumps(fields)
    except (TypeError, ValueError):
        return None


def _load_handlers(paths: Sequence[str]) -> list[ErrorHandler]:
    handlers = [load_path(path, "ERROR_HANDLERS") for path in paths]
    for path, handler in zip(paths, handlers, strict=True):
        if not callable(handler):
            raise ConfigurationError(f"SIDEKICK['ERROR_HANDLERS'] names {path!r}, which cannot be called.")
    return handlers
