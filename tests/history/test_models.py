"""The questions of the QuerySets, and the way from a handle to its row."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.utils import timezone

from django_sidekick import EnqueuedJob
from django_sidekick.models import JobRecord
from tests.app.jobs import NoopJob

pytestmark = pytest.mark.django_db


def add(jid, state="processed", **fields):
    fields = {"job_class": "J", "queue": "q", "changed_at": timezone.now(), **fields}
    return JobRecord.objects.create(jid=jid, state=state, **fields)


def jids(rows):
    return list(rows.values_list("jid", flat=True))


def test_failed_is_whatever_an_error_has_ended_for_now_or_for_good():
    for state in JobRecord.State.values:
        add(state, state)

    assert set(jids(JobRecord.objects.failed())) == {"failed", "dead", "retry"}
    assert jids(JobRecord.objects.dead()) == ["dead"]


def test_jobs_of_a_class_by_the_class_or_its_name():
    add("a", job_class=NoopJob.name)
    add("b")

    assert jids(JobRecord.objects.for_job(NoopJob)) == jids(JobRecord.objects.for_job(NoopJob.name)) == ["a"]


def test_today_begins_at_midnight_of_the_current_time_zone():
    add("now")
    add("then", changed_at=timezone.now() - timedelta(days=1))

    with timezone.override("Asia/Ho_Chi_Minh"):
        midnight = timezone.localtime().replace(hour=0, minute=0, second=0, microsecond=0)
        add("midnight", changed_at=midnight)
        add("before", changed_at=midnight - timedelta(microseconds=1))
        assert set(jids(JobRecord.objects.today())) == {"now", "midnight"}


def test_the_slowest_are_those_that_have_run_longest():
    for jid, seconds in (("a", 1), ("b", 3), ("c", None), ("d", 2)):
        add(jid, run_time=None if seconds is None else timedelta(seconds=seconds))

    assert jids(JobRecord.objects.slowest()) == ["b", "d", "a"]


def test_a_handle_leads_to_its_row_or_to_none():
    row = add("a")

    assert EnqueuedJob("a").record == row
    assert EnqueuedJob("b").record is None
