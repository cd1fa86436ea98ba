"""When a job is due: `wait`, `wait_until`, `at` and `spread` in epoch seconds."""

from __future__ import annotations

import random
import time
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings as django_settings
from django.utils import timezone

from django_sidekick.exceptions import ArgumentError, checked_wait_s


def moment_s(wait: Any, wait_until: Any, now_s: float, path: str = "wait_until") -> float | None:
    """Return the epoch seconds that `wait` or `wait_until` mean; None if neither is given, or it is past.

    `path` is what the caller calls `wait_until`.

    Raise ArgumentError for both, for a negative wait, and for a naive datetime under USE_TZ.
    """
    if wait is None and wait_until is None:
        return None
    if wait is not None and wait_until is not None:
        raise ArgumentError("Give wait or wait_until, not both.", path="wait", value=wait)
    at_s = now_s + checked_wait_s(wait) if wait is not None else epoch_s(wait_until, path)
    return at_s if at_s > now_s else None


def moments_s(at: Any, spread: Any, count: int) -> list[float | None]:
    """Return the epoch seconds of `count` jobs: one time for all, one for each, or spread at random from now on."""
    now_s = time.time()
    if at is not None and spread is not None:
        raise ArgumentError("Give at or spread, not both.", path="at", value=at)
    if spread is not None:
        if not isinstance(spread, timedelta) or spread < timedelta():
            raise ArgumentError(f"spread must be a timedelta from 0, not {spread!r}.", path="spread", value=spread)
        return [now_s + random.uniform(0, spread.total_seconds()) for _ in range(count)]
    if not isinstance(at, list | tuple):
        return [moment_s(None, at, now_s, "at")] * count
    if len(at) != count:
        raise ArgumentError(f"at has {len(at)} times for {count} jobs.", path="at", value=at)
    return [moment_s(None, moment, now_s, f"at[{index}]") for index, moment in enumerate(at)]


def epoch_s(moment: Any, path: str) -> float:
    """Return the epoch seconds of an aware datetime; a naive one is read in TIME_ZONE where USE_TZ is off."""
    if not isinstance(moment, datetime):
        raise ArgumentError(f"{path} must be a datetime, not {moment!r}.", path=path, value=moment)
    if timezone.is_naive(moment):
        if django_settings.USE_TZ:
            raise ArgumentError(
                f"{path} is naive ({moment!r}) while USE_TZ is on: which time zone is meant?",
                path=path,
                value=moment,
            )
        moment = timezone.make_aware(moment)
    return float(moment.timestamp())
