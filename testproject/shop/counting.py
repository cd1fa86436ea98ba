"""What the demo's table is made of: counts by class, kept in Redis by two layers of middleware."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django_sidekick.broker.broker import get_broker


def key() -> str:
    """Return the hash that holds CLASS|what -> count."""
    return f"{get_broker().keys.prefix}shop:counts"


def count(job_class: str, what: str) -> None:
    """Add one."""
    get_broker().client.hincrby(key(), f"{job_class.rpartition('.')[2]}|{what}", 1)


def count_enqueued(call_next: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Count what is enqueued, now or for later."""

    def counted(payload: dict[str, Any]) -> Any:
        count(payload["class"], "enqueued")
        return call_next(payload)

    return counted


def count_runs(call_next: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Count runs, failed runs, and runs after a failure."""

    def counted(job: Any) -> Any:
        count(job.name, "processed")
        if job.attempt > 1:
            count(job.name, "retried")
        try:
            return call_next(job)
        except Exception:
            count(job.name, "failed")
            raise

    return counted
