"""The recorder in a worker: what has run is in SQL when `--drain` ends, with and without a fork."""

from __future__ import annotations

import signal

import pytest
from django.db import connections

from tests.app.jobs import FailJob, NoopJob
from tests.conftest import wait_until
from tests.history.conftest import Mirror
from tests.workers import worker_process


def environment(alias, **more):
    settings = connections[alias].settings_dict
    place = {"SIDEKICK_TEST_DATABASE": "", "SIDEKICK_TEST_SQLITE": str(settings["NAME"])}
    if connections[alias].vendor == "postgresql":
        place = {"SIDEKICK_TEST_DATABASE": f"postgresql://{settings['USER']}@{settings['HOST']}:{settings['PORT']}/{settings['NAME']}"}
    return {"SIDEKICK_TEST_HISTORY": "finished", **place, **more}


@pytest.mark.parametrize("processes", ["0", "2"])
@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_drain_ends_when_the_mirror_is_written(request, kind, processes, redis, django_db_blocker):
    alias = request.getfixturevalue(f"{kind}_alias")
    with django_db_blocker.unblock():
        mirror = Mirror(alias, redis)
        mirror.clear()
        NoopJob.perform_bulk([(number,) for number in range(3000)])
        FailJob.set(retry=0).perform_later("once")
        with worker_process("-p", processes, "--drain", **environment(alias)) as worker:
            assert worker.wait(60) == 0, worker.output()
            assert "\nTraceback" not in worker.output()

        assert mirror.rows.filter(state="processed").count() == 3000
        (row,) = mirror.rows.dead()
        assert row.args == ["once"]
        assert row.attempt_set.using(alias).get().backtrace.endswith("ValueError: asked to fail with once\n")
        assert set(mirror.rows.values_list("worker", flat=True).distinct()) != {""}
        assert redis.exists("sk:events:bytes", "sk:recorder") == 0
        mirror.clear()


def test_a_worker_without_tables_runs_jobs_warns_once_and_drains(redis, tmp_path):
    NoopJob.perform_bulk([(number,) for number in range(10)])

    with worker_process("--drain", SIDEKICK_TEST_HISTORY="finished", SIDEKICK_TEST_DATABASE="", SIDEKICK_TEST_SQLITE=str(tmp_path / "db")) as worker:
        assert worker.wait(30) == 0, worker.output()
        assert worker.output().count("history of jobs cannot be written") == 1
        assert "no such table" in worker.output()
    assert redis.xlen("sk:events") > 0


def test_history_off_has_no_recorder_and_no_stream(redis, sqlite_alias):
    NoopJob.perform_later()

    with worker_process("--drain", **environment(sqlite_alias, SIDEKICK_TEST_HISTORY="off")) as worker:
        assert worker.wait(30) == 0, worker.output()

    assert redis.keys("sk:events*") + redis.keys("sk:recorder") == []


def test_at_the_end_another_host_may_write_at_once(redis, sqlite_alias):
    with worker_process("-p", "1", **environment(sqlite_alias)) as worker:
        wait_until(lambda: redis.exists("sk:recorder"), "the recorder")
        worker.send(signal.SIGTERM)
        assert worker.wait() == 0, worker.output()

    assert not redis.exists("sk:recorder")
