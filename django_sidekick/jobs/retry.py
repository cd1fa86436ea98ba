"""What happens after an error. Pure: payload, rules and time in, decision out."""

from __future__ import annotations

import random
from collections.abc import Callable
from datetime import timedelta
from typing import Any, NamedTuple

from django_sidekick.wire.payload import (
    encode_backtrace,
    error_message,
    read_time_s,
    timestamp,
)


class RetryRules(NamedTuple):
    """The settings that decide: how many retries `true` means, and how times are written."""

    max_retries: int
    wire_times: str
    random_below: Callable[[int], int] = random.randrange


class Failure(NamedTuple):
    """One failed run: what was fetched, from which queue, the error, and when, in epoch seconds."""

    queue: str
    error: BaseException
    now_s: float


def backoff_s(count: int, random_below: Callable[[int], int] = random.randrange) -> float:
    """Return the seconds to wait after failure number `count`, from 0: count**4 + 15 plus jitter.

    Jitter: whole seconds from 0 to 10 * (count + 1) - 1. Source: Sidekiq 8.1, `job_retry.rb`.
    """
    return min(max(count, 0), 1000) ** 4 + 15 + jitter_s(count, random_below)


def jitter_s(count: int, random_below: Callable[[int], int]) -> int:
    """Return the part of the wait that keeps many failures from coming back at one moment."""
    return random_below(10 * (min(max(count, 0), 1000) + 1))


def is_retried(payload: dict[str, Any]) -> bool:
    """Tell whether the job keeps any trace after an error: `retry` false or null keeps none.

    Null and a missing field ask the job's class before. Where that is unknown, a payload without the field, which no
    Sidekiq writes, is retried: better than to lose it.
    """
    retry = payload.get("retry", True)
    return retry is not False and retry is not None


def with_error(payload: dict[str, Any], failure: Failure, rules: RetryRules) -> dict[str, Any]:
    """Return a copy of the payload with the failure written into it, every other field as it was."""
    error, now = failure.error, timestamp(failure.now_s, rules.wire_times)
    fields = dict(payload)
    retry_queue = payload.get("retry_queue")
    fields["queue"] = retry_queue if isinstance(retry_queue, str) and retry_queue else failure.queue
    fields["error_message"] = error_message(error)
    fields["error_class"] = type(error).__name__
    if "retry_count" in payload:
        fields["retried_at"] = now
        fields["retry_count"] = failures_before(payload)
    else:
        fields["failed_at"] = now
        fields["retry_count"] = 0
    if (lines := encode_backtrace(error, payload.get("backtrace"))) is not None:
        fields["error_backtrace"] = lines
    return fields


def failures_before(payload: dict[str, Any]) -> int:
    """Return how many runs have failed before this one."""
    count = payload.get("retry_count")
    return count + 1 if isinstance(count, int) and not isinstance(count, bool) else 0


def is_exhausted(fields: dict[str, Any], now_s: float, rules: RetryRules) -> bool:
    """Tell whether no retry is left. With `retry_for`, its window alone counts (Sidekiq 8.1)."""
    retry_for = fields.get("retry_for")
    if isinstance(retry_for, int | float) and not isinstance(retry_for, bool):
        failed_at_s = read_time_s(fields.get("failed_at")) or now_s
        return bool(retry_for < now_s - failed_at_s)  # no sum: a number of any size may stand here
    retry = fields.get("retry", True)
    most = retry if isinstance(retry, int) and not isinstance(retry, bool) else rules.max_retries
    return bool(fields["retry_count"] >= most)


def delay_s(fields: dict[str, Any], asked: Any, rules: RetryRules) -> float:
    """Return the seconds until the next run: what retry_in() asked for, or the back-off; jitter in both."""
    count = fields["retry_count"]
    if isinstance(asked, timedelta):
        asked = asked.total_seconds()
    if isinstance(asked, int | float) and not isinstance(asked, bool) and 0 < asked < 1e10:
        return asked + jitter_s(count, rules.random_below)
    return backoff_s(count, rules.random_below)
