"""The mirror, with everything killed that can be: each event is applied once, and the rows are what happened."""

from __future__ import annotations

import collections
import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest
from django.core.management import call_command
from django.db import connections

from django_sidekick.broker.broker import get_broker
from django_sidekick.broker.events import EventStream
from django_sidekick.conf import get_settings
from django_sidekick.history.recorder import Recorder
from django_sidekick.models import HistoryCursor, JobAttempt, JobRecord
from django_sidekick.wire import codec, event
from django_sidekick.wire.outcome import Delivery, Outcome
from testproject.database import database
from tests.conftest import SERVER, wait_until
from tests.crash.crew import CrewProcess, is_empty
from tests.crash.jobs import ChaosJob, SleepJob, kind_of
from tests.crash.ledger import LAST
from tests.crash.test_kill import shorten_leases
from tests.workers import ROOT

KILLS = 26
EVENTS = 60_000
TREE_KILLS = 5
JOBS = 20_000
AWAY_S = 10
STATES = {"done": "processed", "discarded": "discarded", "dead": "dead"}


class Place:
    """One database with the mirror's tables in it, or without."""

    def __init__(self, url: str, file: Path) -> None:
        self.environment = {"SIDEKICK_TEST_DATABASE": url, "SIDEKICK_TEST_SQLITE": str(file), "SIDEKICK_TEST_HISTORY": "finished"}
        connections.settings["mirror"] = database(url, file)
        connections.settings = connections.configure_settings(connections.settings)

    def migrate(self) -> None:
        call_command("migrate", database="mirror", run_syncdb=True, verbosity=0)

    def rows(self):
        return JobRecord.objects.using("mirror")

    def attempts(self):
        return JobAttempt.objects.using("mirror")

    def close(self) -> None:
        connections["mirror"].close()
        del connections["mirror"]
        del connections.settings["mirror"]


@pytest.fixture(params=["sqlite", "postgresql"])
def place(request, tmp_path, django_db_blocker):
    url = request.getfixturevalue("cluster").url if request.param == "postgresql" else ""
    with django_db_blocker.unblock():
        made = Place(url, tmp_path / "db.sqlite3")
        made.migrate()
        for model in (JobRecord, JobAttempt, HistoryCursor):
            model.objects.using("mirror").all()._raw_delete("mirror")
        yield made
        made.close()


def crew(ledger, place, **words):
    return CrewProcess(ledger, SERVER[0].url, **{"concurrency": 5, "history": place.environment, **words})


def push(numbers):
    ChaosJob.perform_bulk([(number, kind_of(number)) for number in numbers])


class Load(threading.Thread):
    """Pushes 100 jobs every tenth of a second, numbered from 0, until it is told to end."""

    def __init__(self):
        super().__init__(daemon=True)
        self.pushed = 0
        self._is_over = threading.Event()

    def run(self):
        while not self._is_over.wait(0.1):
            push(range(self.pushed, self.pushed + 100))
            self.pushed += 100

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *error):
        self._is_over.set()
        self.join()

    def end(self):
        assert self.is_alive(), "it failed"
        self._is_over.set()
        self.join()


def is_written(redis):
    return EventStream(redis, get_broker().keys).is_written()


def finish(redis, ledger, worker, numbers, timeout_s=60):
    wait_until(lambda: is_empty(redis) and ledger.has_all(numbers), "all jobs", timeout_s)
    wait_until(lambda: is_written(redis) and not redis.exists("sk:events:stuck"), "the mirror", timeout_s)
    worker.send(signal.SIGTERM)
    assert worker.wait() == 0, worker.output()


def settle_mirror(place, ledger, redis, numbers):
    """Fail unless rows are jobs, states are what became of them, and attempts are the failed runs that were written.

    Attempts are compared with what the acknowledgements have put into retry and dead, each of which is one failure.
    """
    states = dict(place.rows().values_list("args__0", "state"))
    assert states == {n: STATES[LAST[kind_of(n)]] for n in numbers}
    assert place.rows().count() == len(numbers)
    assert place.rows().filter(finished_at=None).count() == 0
    failed = collections.Counter(place.attempts().exclude(error_class="").values_list("record__args__0", flat=True))
    assert failed == {n: 1 for n in numbers if kind_of(n) in {"once", "dies", "dies late"}}
    good = collections.Counter(place.attempts().filter(error_class="").values_list("record__args__0", flat=True))
    assert good == {n: 1 for n in numbers if kind_of(n) == "once"}
    runs = collections.Counter(line.number for line in ledger.lines() if line.what == "failed")
    assert all(runs[n] >= 1 for n in failed)
    assert redis.get("sk:events:dropped") is None
    return len(states), failed.total()


def test_26_kills_of_the_recorder_apply_each_event_once(redis, place, capsys):
    expected: collections.Counter[str] = collections.Counter()
    for first in range(0, EVENTS, 100):
        outcomes = []
        for number in range(first, first + 100):
            text = codec.dumps({"class": "J", "queue": "q", "args": [number], "jid": f"{number % 40_000:024x}"})
            outcomes.append(Outcome("dead", Delivery(1, "q", text), codec.loads(text), 1000.0 + number, 0.5, ValueError(number)))
            expected[f"{number % 40_000:024x}"] += 1
        blob = event.encode("w", outcomes)
        redis.xadd("sk:events", {"b": blob})
        redis.incrby("sk:events:bytes", len(blob))
    zygote = subprocess.Popen(
        [sys.executable, "-m", "tests.crash.recorder", SERVER[0].url], cwd=ROOT, text=True,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        env={**os.environ, "DJANGO_SETTINGS_MODULE": "tests.settings", "PYTHONPATH": str(ROOT), **place.environment},
    )  # fmt: skip
    middle = 0
    with zygote:
        for _ in range(KILLS):
            before = redis.xlen("sk:events")
            zygote.stdin.write("\n")
            zygote.stdin.flush()
            recorder = int(zygote.stdout.readline())
            wait_until(lambda b=before: redis.xlen("sk:events") < b, "it to write", 30)
            SleepJob.pause(random.uniform(0, 0.03))
            os.kill(recorder, signal.SIGKILL)
            middle += redis.xlen("sk:events") > 0
            redis.delete("sk:recorder")  # what 6 s would do
        zygote.stdin.close()
    last = Recorder(replace(get_settings(), history_database="mirror", history_retention_s=()), {})
    while redis.xlen("sk:events"):
        last.turn()
    last.resign()

    applied = collections.Counter(place.attempts().values_list("record_id", flat=True))
    assert applied == expected
    assert place.rows().count() == 40_000
    with capsys.disabled():
        print(f"\n{connections['mirror'].vendor}: {KILLS} kills of the recorder, {middle} with events left, {EVENTS} events: each applied once")
    assert middle >= KILLS - 1


def test_20_000_jobs_with_failures_and_5_kills_of_everything(redis, place, ledger, capsys):
    slice_ = JOBS // (TREE_KILLS + 1)
    left = 0
    for kill in range(TREE_KILLS):
        push(range(kill * slice_, (kill + 1) * slice_))
        with crew(ledger, place) as worker:
            enough = len(ledger) + slice_
            wait_until(lambda e=enough: len(ledger) >= e, "half of the jobs", 60)
            worker.kill()
        left += redis.xlen("sk:events")
        shorten_leases(redis)
        redis.delete("sk:recorder")
    push(range(TREE_KILLS * slice_, JOBS))
    with crew(ledger, place) as worker:
        finish(redis, ledger, worker, range(JOBS))

    rows, attempts = settle_mirror(place, ledger, redis, range(JOBS))
    with capsys.disabled():
        print(f"\n{connections['mirror'].vendor}: {TREE_KILLS} kills of everything with {left} blobs unwritten: {rows} rows, {attempts} failed runs")


def test_postgresql_away_for_10_s_under_load_that_lasts_beyond_its_return(redis, cluster, ledger, tmp_path, django_db_blocker, capsys):
    with django_db_blocker.unblock():
        place = Place(cluster.url, tmp_path / "no")
        place.migrate()
        for model in (JobRecord, JobAttempt, HistoryCursor):
            model.objects.using("mirror").all()._raw_delete("mirror")
        connections["mirror"].close()
        with crew(ledger, place) as worker, Load() as load:
            wait_until(lambda: len(ledger) > 1000 and place.rows().count(), "some jobs and their rows", 30)
            connections["mirror"].close()
            cluster.stop()
            for second in range(AWAY_S):
                before, next_at = len(ledger), time.monotonic() + 1
                wait_until(lambda b=before: len(ledger) > b + 100, f"jobs to go on in second {second}")
                SleepJob.pause(max(0.0, next_at - time.monotonic()))
            waiting, pushed = redis.xlen("sk:events"), load.pushed
            cluster.start()
            at_return = place.rows().count()
            wait_until(lambda: place.rows().count() > at_return, "the first rows after the return", 30)
            wait_until(lambda: load.pushed > pushed + 2000, "the load to go on after the return", 30)
            load.end()
            finish(redis, ledger, worker, range(load.pushed))
            output = worker.output()

        rows, attempts = settle_mirror(place, ledger, redis, range(load.pushed))
        assert waiting > 0
        assert output.count("cannot be written for now") == 1
        assert "\nTraceback" not in output
        with capsys.disabled():
            print(f"\nPostgreSQL away for {AWAY_S} s under load, {waiting} blobs waited: {rows} rows, {attempts} failed runs")
        place.close()


def test_tables_that_are_made_later(redis, ledger, tmp_path, django_db_blocker):
    with django_db_blocker.unblock():
        place = Place("", tmp_path / "db.sqlite3")
        with crew(ledger, place) as worker:
            push(range(400))
            wait_until(lambda: ledger.has_all(range(400)), "all jobs, without tables", 60)
            worker.wait_for("cannot be written for now")
            place.migrate()
            finish(redis, ledger, worker, range(400))
            assert worker.output().count("cannot be written for now") == 1

        settle_mirror(place, ledger, redis, range(400))
        assert json.loads(redis.zrange("dead", 0, 0)[0])["jid"] in set(place.rows().dead().values_list("jid", flat=True))
        place.close()
