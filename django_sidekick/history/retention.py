"""Deleting old rows: by age, which each state may have of its own, and beyond a number of rows or runs. In small chunks."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from itertools import chain
from typing import Any

from django.db import transaction
from django.db.models import Exists, Max, OuterRef, Q, QuerySet
from django.utils import timezone

from django_sidekick.conf import Settings
from django_sidekick.models import JobAttempt, JobRecord

LOOK_EVERY_S = 60.0
LOCK_S = 0.010
FEWEST, MOST = 50, 5000
MOST_ATTEMPTS = 100
"""Kept of one job: a job that fails every minute for ever never ends, and so never becomes old."""

LOOKED_BACK = 10_000
"""Attempts that a new recorder looks through for those of such jobs; from then on it looks at each new one."""

SHARE = 1.1
"""Deleted for each row that is written, while there are old ones: a little more, so that they become fewer."""


class Retention:
    """Looks for old rows once a minute, and deletes them between two batches of new ones."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._pruning: Iterator[int] | None = None
        self._look_at = 0.0
        self._written = 0
        self._seen: int | None = None
        """The last attempt that has been looked at."""

    def turn(self, written: int) -> None:
        """Delete about as many old rows as were written, and a chunk at least; nothing if it is not time to look."""
        self._written += written
        most_rows = self._settings.history_max_rows
        is_many = most_rows is not None and self._written > most_rows // 10
        if self._pruning is None and (time.monotonic() >= self._look_at or is_many):
            self._pruning, self._written = chain(prune(self._settings), self._surplus()), 0
        deleted = 0
        while self._pruning is not None and deleted <= written * SHARE:
            chunk = next(self._pruning, None)
            if chunk is None:
                self._pruning, self._look_at = None, time.monotonic() + LOOK_EVERY_S
            else:
                deleted += chunk

    def _surplus(self) -> Iterator[int]:
        """Delete the oldest attempts of jobs that have failed again, and more often than is kept of one."""
        attempts = JobAttempt.objects.using(self._settings.history_database).order_by()
        newest = attempts.aggregate(newest=Max("pk"))["newest"]
        if newest is None:
            return
        seen = newest - LOOKED_BACK if self._seen is None else self._seen
        late = attempts.filter(pk__gt=seen, pk__lte=newest, number__gt=MOST_ATTEMPTS)
        for jid, number in late.values_list("record_id").annotate(Max("number")):
            surplus = attempts.filter(record_id=jid, number__lte=number - MOST_ATTEMPTS)
            while keys := list(surplus.values_list("pk", flat=True)[: FEWEST * 2]):
                yield attempts.filter(pk__in=keys)._raw_delete(attempts.db)
        self._seen = newest


def prune(settings: Settings) -> Iterator[int]:
    """Delete what the settings do not keep, chunk by chunk; yield the number of rows of each."""
    for rows in outdated(settings):
        yield from delete(rows)


def outdated(settings: Settings) -> Iterator[QuerySet[JobRecord]]:
    """Yield what is to be deleted: the rows of one state that are too old, then the oldest beyond HISTORY_MAX_ROWS.

    The last is looked for when the others have been yielded, and takes them as deleted.
    """
    yield from _aged(settings)
    rows, most = JobRecord.objects.using(settings.history_database), settings.history_max_rows
    if most is not None and (last := _place(rows, most)) is not None:
        changed_at, jid = last
        yield rows.filter(Q(changed_at__lt=changed_at) | Q(jid__lte=jid), changed_at__lte=changed_at)


def count_outdated(settings: Settings) -> int:
    """Return how many rows prune() would delete now."""
    aged, most = sum(rows.count() for rows in _aged(settings)), settings.history_max_rows
    if most is None:
        return aged
    left = JobRecord.objects.using(settings.history_database).count() - aged
    return aged + max(left - most, 0)


def older_than(settings: Settings, age_s: float, states: tuple[str, ...]) -> QuerySet[JobRecord]:
    """Return the rows of these states, of all if none is named, whose last event is so old."""
    before = timezone.now() - timedelta(seconds=age_s)
    rows = JobRecord.objects.using(settings.history_database).filter(changed_at__lt=before)
    return rows.filter(state__in=states) if states else rows


def delete(rows: QuerySet[JobRecord], clock: Callable[[], float] = time.perf_counter) -> Iterator[int]:
    """Delete rows with their attempts, the oldest first; each chunk is a transaction of about 10 ms.

    A row that has changed since it was looked for, and is not among `rows` any more, stays with its attempts.
    """
    size, alias = FEWEST * 2, rows.db
    while True:
        jids = list(rows.order_by("changed_at").values_list("pk", flat=True)[:size])
        if not jids:
            return
        began = clock()
        with transaction.atomic(using=alias):
            deleted = rows.filter(pk__in=jids)._raw_delete(alias)
            is_there = Exists(JobRecord.objects.using(alias).filter(pk=OuterRef("record_id")))
            attempts = JobAttempt.objects.using(alias).filter(~is_there, record_id__in=jids)
            attempts._raw_delete(alias)
        fitting = int(LOCK_S * len(jids) / max(clock() - began, 1e-6))
        size = max(FEWEST, min(MOST, size * 2, fitting))
        yield deleted


def _aged(settings: Settings) -> Iterator[QuerySet[JobRecord]]:
    rows, now = JobRecord.objects.using(settings.history_database), timezone.now()
    for state, age_s in settings.history_retention_s:
        if age_s is not None:
            yield rows.filter(state=state, changed_at__lt=now - timedelta(seconds=age_s))


def _place(rows: QuerySet[JobRecord], place: int) -> Any:
    """Return `changed_at` and jid of the row at this place, counted from the newest; None if there are not so many."""
    found = rows.order_by("-changed_at", "-jid").values_list("changed_at", "jid")[place : place + 1]
    return next(iter(found), None)
