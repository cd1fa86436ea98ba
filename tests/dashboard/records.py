"""Rows of the history for tests."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django.utils import timezone

from django_sidekick.models import JobAttempt, JobRecord

JID = "a" * 24


def record(jid: str = JID, *, database: str = "default", ago: timedelta = timedelta(), **fields: Any) -> JobRecord:
    values = {"job_class": "shop.jobs.CleanUp", "queue": "low", "state": "processed", "args": [1], "kwargs": {}}
    values["changed_at"] = timezone.now() - ago
    return JobRecord.objects.using(database).create(jid=jid, **{**values, **fields})


def many(count: int, *, database: str = "default", **fields: Any) -> None:
    """So many rows, the first one the newest, a second apart."""
    now = timezone.now()
    values = {"job_class": "shop.jobs.CleanUp", "queue": "low", "state": "processed", "args": [1], "kwargs": {}, **fields}
    JobRecord.objects.using(database).bulk_create(
        JobRecord(jid=f"{n:024x}", changed_at=now - timedelta(seconds=n), **values) for n in range(count)
    )


def attempt(record: JobRecord, number: int, **fields: Any) -> JobAttempt:
    values = {"error_class": "ValueError", "error_message": "no", "finished_at": timezone.now(), **fields}
    return JobAttempt.objects.using(record._state.db).create(record_id=record.pk, number=number, **values)
