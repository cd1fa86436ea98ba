"""kill -9 of a busy worker: nothing is lost, and little runs twice."""

from __future__ import annotations

import signal

import pytest

from tests.conftest import wait_until
from tests.crash.jobs import SleepJob
from tests.workers import WorkerProcess, shorten_leases, worker_process

JOBS = 500

pytestmark = pytest.mark.usefixtures("redis")


def ran(redis):
    return [int(number) for number in redis.lrange("ran", 0, -1)]


def test_two_kills_in_500_jobs_lose_nothing(redis):
    SleepJob.perform_bulk([(number,) for number in range(JOBS)])

    for third in (1, 2):
        worker = WorkerProcess("-c", "10")
        wait_until(lambda t=third: len(ran(redis)) >= JOBS * t // 3, "a third of the jobs", 60)
        worker.kill()
        worker.close()
        shorten_leases(redis)
    with worker_process("-c", "10", "--drain") as worker:
        assert worker.wait(60) == 0, worker.output()

    assert sorted(set(ran(redis))) == list(range(JOBS))
    repeats = len(ran(redis)) - JOBS
    print(f"2 kills, {JOBS} jobs: lost 0, ran again {repeats}")
    assert repeats <= 2 * 60


def test_term_under_load_runs_nothing_twice(redis):
    SleepJob.perform_bulk([(number,) for number in range(JOBS)])

    for third in (1, 2):
        with worker_process("-c", "10") as worker:
            wait_until(lambda t=third: len(ran(redis)) >= JOBS * t // 3, "a third of the jobs", 60)
            worker.send(signal.SIGTERM)
            assert worker.wait() == 0
    with worker_process("-c", "10", "--drain") as worker:
        assert worker.wait(60) == 0

    assert sorted(ran(redis)) == list(range(JOBS))
