"""What can go wrong, by name. Each docstring is the default message."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from django.core.exceptions import ImproperlyConfigured


class SidekickError(Exception):
    """django-sidekick could not do what was asked."""

    def __init__(self, message: str = "") -> None:
        super().__init__(message or inspect.getdoc(type(self)) or "")


class ConfigurationError(SidekickError, ImproperlyConfigured):
    """The settings cannot be served."""


class ArgumentError(SidekickError, ValueError):
    """An argument of a job cannot be written as JSON."""

    def __init__(self, message: str = "", *, path: str = "", value: Any = None) -> None:
        super().__init__(message)
        self.path = path
        self.value = value


def checked_wait_s(wait: Any) -> float:
    """Return the seconds of a wait, a timedelta or a number. Raise ArgumentError for anything else, and below 0."""
    seconds = wait.total_seconds() if isinstance(wait, timedelta) else wait
    if isinstance(seconds, bool) or not isinstance(seconds, int | float) or not 0 <= seconds < 1e10:
        raise ArgumentError(f"wait must be a timedelta or seconds from 0, not {wait!r}.", path="wait", value=wait)
    return float(seconds)


class DeserializationError(SidekickError):
    """An argument could not be restored: its row is gone, or nobody knows its kind."""


class UnknownJob(SidekickError):
    """No job class is registered under this name."""

    def __init__(self, name: str = "") -> None:
        module = name.rpartition(".")[0]
        app = module.removesuffix(".jobs") or name
        super().__init__(
            f"No job class is registered as {name!r}. Is the app {app!r} in INSTALLED_APPS, and the class in "
            f"its jobs module? A name of Ruby's is claimed by a class with class_name = {name!r}."
        )
        self.name = name


class MalformedPayload(SidekickError):
    """What came out of the queue is no job."""

    def __init__(self, message: str = "", *, raw: bytes = b"") -> None:
        super().__init__(message)
        self.raw = raw


class EnqueueError(SidekickError):
    """The jobs could not be pushed: Redis is away."""

    def __init__(self, message: str = "", *, jids: Sequence[str] = ()) -> None:
        super().__init__(message)
        self.jids = tuple(jids)


class BrokerUnavailable(SidekickError):
    """Redis is away, or refuses for good.

    `reason`: in the words of the server or of the connection; `where`: the address that is away. Either may be unknown.
    """

    def __init__(
        self, message: str = "Redis is away, or refuses for good.", *, reason: str = "", where: str = ""
    ) -> None:
        super().__init__(message)
        self.reason = reason
        self.where = where

    @classmethod
    def away(cls, where: str, error: BaseException) -> BrokerUnavailable:
        """Return the error for a server that does not answer, or not now."""
        return cls(f"Redis at {where} is away: {error}", reason=str(error), where=where)

    @classmethod
    def refused(cls, error: BaseException) -> BrokerUnavailable:
        """Return the error for what a server that is there will not do."""
        return cls(f"Redis refuses: {error}", reason=str(error))


class WrongType(SidekickError):
    """A key that a job was to go to holds something of another kind; the job stays where it is."""

    def __init__(self, message: str, *, key: str, stays_in: str) -> None:
        super().__init__(message)
        self.key = key
        self.stays_in = stays_in


class Fenced(SidekickError):
    """The lease of this process ran out and its jobs were taken over."""


class ProcessDied(SidekickError):
    """The process died while it ran this job."""

    def __init__(self, identity: str, times: int) -> None:
        super().__init__(
            f"The process died {times} times within 72 hours while it ran this job; the last one was {identity}. "
            "It is not run again by itself: a segmentation fault, or out of memory?"
        )
        self.identity = identity
        self.times = times


class Retry(Exception):
    """Raise from perform() to run the job again later; it counts as one of its retries.

    `wait`: a timedelta or seconds until then, without jitter; None for the usual back-off. Raise ArgumentError for
    anything else, which is then the job's failure.
    """

    wait_s: float | None = None

    def __init__(self, message: str = "asked for a retry", *, wait: timedelta | float | None = None) -> None:
        super().__init__(message)
        self.wait_s = None if wait is None else checked_wait_s(wait)


class Discard(Exception):
    """Raise from perform() to drop the job for good: it is neither retried nor dead."""

    def __init__(self, reason: str = "discarded") -> None:
        super().__init__(reason)
        self.reason = reason


class Shutdown(BaseException):
    """The process ends: the job goes back to its queue. No Exception, so that no job swallows it."""
