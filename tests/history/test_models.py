"""The questions of the QuerySets, and the way from a handle to its row."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from django.db import connections
from django.utils import timezone

from django_sidekick import EnqueuedJob
from django_sidekick.dashboard.recordlist import beginning
from django_sidekick.models import JobAttempt, JobRecord
from tests.app.jobs import NoopJob

pytestmark = pytest.mark.django_db(databases="__all__")


@pytest.fixture(scope="session", params=["sqlite", "postgresql"])
def each_alias(request):
    """A migrated database of each kind; before `db`, so that a test's transactions are opened on both."""
    return request.getfixturevalue(f"{request.param}_alias")


@pytest.fixture
def alias(each_alias, db):
    return each_alias


def indexes(alias, model):
    """The columns of each index of a table, unique ones included."""
    with connections[alias].cursor() as cursor:
        found = connections[alias].introspection.get_constraints(cursor, model._meta.db_table)
    return sorted((c["columns"] for c in found.values() if c["index"] or c["primary_key"] or c["unique"]), key=lambda columns: (len(columns), columns))


def test_the_hot_table_has_its_key_and_four_indexes(alias):
    assert indexes(alias, JobRecord) == [["jid"], ["changed_at", "jid"], ["error_class", "changed_at"], ["job_class", "changed_at"], ["state", "changed_at"]]
    assert indexes(alias, JobAttempt) == [["id"], ["record_id"]]


def test_postgresql_has_no_index_beside_those(postgresql_alias, db):
    with connections[postgresql_alias].cursor() as cursor:
        cursor.execute("SELECT indexname FROM pg_indexes WHERE tablename = %s ORDER BY 1", [JobRecord._meta.db_table])
        names = [name for (name,) in cursor.fetchall()]

    assert names == ["django_sidekick_jobrecord_pkey", "sk_job_changed", "sk_job_class", "sk_job_error", "sk_job_state"]


def test_the_key_finds_the_beginning_of_a_jid(alias):
    rows = JobRecord.objects.using(alias)
    rows.bulk_create(JobRecord(jid=f"{n:06x}", job_class="J", queue="q", state="dead", changed_at=timezone.now()) for n in range(3000))
    if alias == "postgresql":
        with connections[alias].cursor() as cursor:
            cursor.execute("ANALYZE django_sidekick_jobrecord")
    found = beginning(rows.all(), "000ab0")

    assert sorted(found.values_list("jid", flat=True)) == ["000ab0"]
    plan = found.explain()
    assert "jobrecord_pkey" in plan or "autoindex" in plan, plan
    assert "Index Cond" in plan or "SEARCH" in plan, plan


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


def test_today_begins_at_midnight_of_the_current_time_zone(monkeypatch):
    now = datetime(2026, 11, 25, 18, 30, tzinfo=UTC)  # the 26th has begun there
    monkeypatch.setattr(timezone, "now", lambda: now)
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
