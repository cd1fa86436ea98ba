"""What Sidekiq's own counters do not say: jobs enqueued and runs after a failure, by class, kept in Redis."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from functools import partial
from typing import Any

from django.db import transaction

from django_sidekick.broker.broker import get_broker


def counts() -> Counter[tuple[str, str]]:
    """Return (class, "enqueued" or "retried") -> count."""
    found: Counter[tuple[str, str]] = Counter()
    for field, value in get_broker().client.hgetall(_key()).items():
        name, _, what = field.decode().partition("|")
        found[name, what] = int(value)
    return found


def count_enqueued(call_next: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Count what is enqueued, now or for later, once its transaction is committed."""

    def counted(payload: dict[str, Any]) -> Any:
        answer = call_next(payload)
        if answer is not None:
            transaction.on_commit(partial(_count, payload["class"], "enqueued"))
        return answer

    return counted


def count_retried(call_next: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Count runs after a failure."""

    def counted(job: Any) -> Any:
        if job.attempt > 1:
            _count(job.name, "retried")
        return call_next(job)

    return counted


def short(job_class: str) -> str:
    """Return a class' name without its module."""
    return job_class.rpartition(".")[2]


def _count(job_class: str, what: str) -> None:
    get_broker().client.hincrby(_key(), f"{short(job_class)}|{what}", 1)


def _key() -> str:
    return f"{get_broker().keys.prefix}shop:counts"
