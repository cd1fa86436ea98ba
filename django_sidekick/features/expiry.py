"""Job expiry: a job that has not begun in time is not worth running any more."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import timedelta
from types import MappingProxyType
from typing import Any

from asgiref.sync import iscoroutinefunction, markcoroutinefunction
from django.utils.decorators import sync_and_async_middleware

from django_sidekick.exceptions import Discard
from django_sidekick.feature import Feature
from django_sidekick.wire.payload import read_time_s

MOST_S = 1e10


def read_limit(value: Any) -> float | None:
    """Return the seconds of `expires_in`, a timedelta or seconds; None for no limit. Raise ValueError in words."""
    seconds = value.total_seconds() if isinstance(value, timedelta) else value
    if seconds is None:
        return None
    if isinstance(seconds, bool) or not isinstance(seconds, int | float) or not 0 < seconds < MOST_S:
        raise ValueError("a timedelta or seconds above 0")
    return seconds


def stamp_expiry(call_next: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Add to `expires_in`, seconds, the field `expiry`: the last moment to begin, in epoch seconds.

    A scheduled job's time counts from the moment it is scheduled for. The field stays on every re-push
    of the job; one that is run again, a new one, has its own.
    """

    def stamped(payload: dict[str, Any]) -> Any:
        limit_s = payload.get("expires_in")
        if limit_s is not None and "expiry" not in payload:
            payload["expiry"] = float(payload.get("at") or time.time()) + limit_s
        return call_next(payload)

    return stamped


@sync_and_async_middleware
def drop_expired(call_next: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Discard a job whose `expiry` is past. A job that has failed before keeps its retries: it did begin."""

    def dropped(job: Any) -> Any:
        if "expiry" in job.payload:
            _refuse_expired(job.payload)
        return call_next(job)

    if iscoroutinefunction(call_next):  # what dropped() returns is awaited then
        markcoroutinefunction(dropped)
    return dropped


def _refuse_expired(payload: dict[str, Any]) -> None:
    last_moment_s = read_time_s(payload["expiry"])
    has_begun = "retry_count" in payload
    if last_moment_s is not None and last_moment_s < time.time() and not has_begun:
        raise Discard("expired before it began")


class Expiry(Feature):
    """`expires_in` on a class or in set(): the job must begin in time, or it is discarded."""

    options = MappingProxyType({"expires_in": read_limit})
    client_middleware = (stamp_expiry,)
    stamps = ("expiry",)
    middleware = (drop_expired,)
