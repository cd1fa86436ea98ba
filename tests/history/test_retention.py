"""Old rows go, in small chunks, and nothing else does."""

from __future__ import annotations

import time
from datetime import timedelta
from io import StringIO

import pytest
from django.core.management import CommandError, call_command
from django.utils import timezone

from django_sidekick.conf import get_settings
from django_sidekick.history import retention
from django_sidekick.models import JobAttempt, JobRecord
from django_sidekick.wire import event
from tests.history.conftest import outcome, raw

DAY = timedelta(days=1)


def add(mirror, count, state="processed", age=timedelta(0), name="job"):
    now = timezone.now() - age
    rows = [
        JobRecord(jid=f"{name}-{state}-{n}", job_class="J", queue="q", state=state, changed_at=now - timedelta(seconds=n))
        for n in range(count)
    ]
    mirror.rows.bulk_create(rows)
    attempts = [JobAttempt(record=row, number=1, finished_at=now) for row in rows]
    JobAttempt.objects.using(mirror.alias).bulk_create(attempts)


def prune(*words):
    out = StringIO()
    call_command("sidekick", "prune", *words, stdout=out)
    return out.getvalue().strip()


def test_each_state_has_its_age_and_attempts_go_with_their_row(mirror, sidekick_settings):
    sidekick_settings(HISTORY_DATABASE=mirror.alias, HISTORY_RETENTION={"processed": DAY, "dead": None})
    for state in ("processed", "dead", "failed"):
        add(mirror, 3, state, timedelta(days=40), "old")
        add(mirror, 3, state, timedelta(days=2), "recent")

    assert sum(retention.prune(get_settings())) == 9

    left = dict.fromkeys(mirror.rows.values_list("jid", flat=True))
    assert {jid.rpartition("-")[0] for jid in left} == {"old-dead", "recent-dead", "recent-failed"}
    assert {a.record_id for a in mirror.attempts} == set(left)


def test_beyond_the_number_of_rows_the_oldest_go(mirror, sidekick_settings):
    sidekick_settings(HISTORY_DATABASE=mirror.alias, HISTORY_RETENTION=None, HISTORY_MAX_ROWS=7)
    add(mirror, 10)

    assert sum(retention.prune(get_settings())) == 3
    assert set(mirror.rows.values_list("jid", flat=True)) == {f"job-processed-{n}" for n in range(7)}
    assert sum(retention.prune(get_settings())) == 0


def test_of_rows_that_changed_at_one_moment_only_those_beyond_the_number_go(mirror, sidekick_settings):
    mirror.append(event.encode_moves("enqueued", [raw(f"{n:02}") for n in range(10)], 1000.0))
    mirror.write()
    sidekick_settings(HISTORY_DATABASE=mirror.alias, HISTORY_RETENTION=None, HISTORY_MAX_ROWS=4)

    assert prune("--dry-run") == "6 rows would be deleted"
    assert prune() == "6 rows deleted"
    assert set(mirror.rows.values_list("jid", flat=True)) == {"06", "07", "08", "09"}


@pytest.mark.parametrize("run", [lambda: prune(), lambda: f"{sum(retention.prune(get_settings()))} rows deleted"], ids=["by hand", "recorder"])
@pytest.mark.parametrize(("most", "gone"), [(10, 10), (7, 13), (30, 10)])
def test_what_is_too_old_does_not_count_as_a_row_beyond_the_number(sqlite_mirror, sidekick_settings, run, most, gone):
    ages = {"processed": 3600, "dead": None}
    sidekick_settings(HISTORY_DATABASE=sqlite_mirror.alias, HISTORY_RETENTION=ages, HISTORY_MAX_ROWS=most)
    add(sqlite_mirror, 10, "processed", timedelta(hours=2))
    add(sqlite_mirror, 10, "dead", 3 * DAY)

    assert prune("--dry-run") == f"{gone} rows would be deleted"
    assert run() == f"{gone} rows deleted"
    assert sqlite_mirror.rows.filter(state="dead").count() == min(most, 10)


def test_a_row_that_changes_while_it_is_looked_for_stays_with_its_attempts(mirror):
    add(mirror, 3, "dead", 40 * DAY)

    def clock():  # it is asked between the look and the deletion: now the recorder writes a job's success
        mirror.rows.filter(pk="job-dead-1").update(state="processed", changed_at=timezone.now())
        return time.perf_counter()

    assert sum(retention.delete(mirror.rows.filter(state="dead"), clock)) == 2
    assert [row.jid for row in mirror.rows.all()] == [a.record_id for a in mirror.attempts] == ["job-dead-1"]


def test_a_chunk_is_a_transaction_of_few_milliseconds(mirror):
    add(mirror, 1000, age=2 * DAY)
    ticks = iter(range(100))

    slow = retention.delete(mirror.rows.all(), lambda: next(ticks) * 0.04)

    assert [next(slow), next(slow)] == [100, 50]
    assert sum(slow) == 850


def test_the_recorder_deletes_between_its_batches(mirror, sidekick_settings):
    sidekick_settings(HISTORY_DATABASE=mirror.alias, HISTORY_RETENTION=DAY)
    add(mirror, 200, age=2 * DAY)
    mirror.tell(outcome(started_at_s=time.time()))
    recorder = mirror.recorder()

    recorder.turn()

    assert mirror.rows.count() == 101, "a chunk of 100 with one batch of one row"
    mirror.tell(*(outcome(jid=f"{n}", started_at_s=time.time()) for n in range(100)))
    mirror.write(recorder)
    assert mirror.rows.count() == 101


def add_attempts(mirror, jid, numbers):
    now = timezone.now()
    attempts = [JobAttempt(record_id=jid, number=number, finished_at=now) for number in numbers]
    JobAttempt.objects.using(mirror.alias).bulk_create(attempts)


def test_of_a_job_that_fails_for_ever_the_last_hundred_runs_are_kept(mirror, sidekick_settings):
    settings = sidekick_settings(HISTORY_DATABASE=mirror.alias, HISTORY_RETENTION=None)
    add_attempts(mirror, "endless", range(1, 351))
    add_attempts(mirror, "patient", range(1, 101))
    recorder = retention.Retention(settings)

    recorder.turn(0)
    assert mirror.attempts.filter(record_id="endless").count() == 250, "a chunk of 100 a turn"
    recorder.turn(10_000)
    numbers = list(mirror.attempts.filter(record_id="endless").values_list("number", flat=True))
    assert numbers == list(range(251, 351))
    assert mirror.attempts.filter(record_id="patient").count() == 100

    add_attempts(mirror, "endless", [351])
    recorder._look_at = 0.0
    recorder.turn(0)
    assert mirror.attempts.filter(record_id="endless").first().number == 252


def test_prune_says_what_it_does(sqlite_mirror, sidekick_settings):
    sidekick_settings(HISTORY_DATABASE=sqlite_mirror.alias)
    for state in ("processed", "dead"):
        add(sqlite_mirror, 4, state, timedelta(days=40))
    add(sqlite_mirror, 4, age=2 * DAY, name="recent")

    assert prune("--dry-run") == "8 rows would be deleted"
    assert prune("--older-than", "1d", "--state", "dead", "--dry-run") == "4 rows would be deleted"
    assert prune("--older-than", "24h", "--state", "dead") == "4 rows deleted"
    assert prune() == "4 rows deleted"
    assert prune("--older-than", "2880m") == "4 rows deleted"
    assert sqlite_mirror.rows.count() == sqlite_mirror.attempts.count() == 0


@pytest.mark.parametrize("age", ["5", "soon", "1.5h", "9999999d", "d", ""])
def test_an_age_that_is_none_is_said_with_what_to_write(age):
    with pytest.raises(CommandError, match=f"'{age}' is no age: write a whole number and s, m, h or d"):
        prune("--older-than", age)


@pytest.mark.parametrize("words", [["--older-than", "soon"], ["--older-than", "5"], ["--older-than", "9999999d"], ["--state", "dead"], ["--state", "gone"]])
def test_prune_refuses_what_it_cannot_read(words):
    with pytest.raises((CommandError, SystemExit)):
        prune(*words)
