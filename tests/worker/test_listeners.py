"""What a worker tells its listeners, and that none of them can do it harm."""

from __future__ import annotations

import signal

import pytest

from tests.app.jobs import EchoJob, GateJob
from tests.conftest import wait_until
from tests.workers import worker_process

pytestmark = pytest.mark.usefixtures("redis")


@pytest.mark.parametrize("processes", ["0", "1"])
def test_listeners_are_told_in_order_and_before_the_first_job(redis, processes):
    EchoJob.perform_bulk([(n,) for n in range(20)])
    with worker_process("-p", processes, "-c", "3", SIDEKICK_TEST_LISTEN="1") as worker:
        wait_until(lambda: redis.llen("echo") == 21, "the jobs")
        worker.send(signal.SIGTERM)
        assert worker.wait() == 0
        told = worker.output().splitlines()

    assert redis.lindex("echo", 0) == b"started"
    mine = [line.split(":")[0] for line in told if line.startswith(("forked: worker", "started: ", "quiet: ", "stopped: "))]
    assert mine == ["forked"] * int(processes) + ["started", "quiet", "stopped"]
    assert told.count("forked: service") == int(processes)  # at whatever moment: it is another process


@pytest.mark.parametrize("processes", ["0", "1"])
def test_a_listener_that_raises_holds_up_neither_jobs_nor_the_drain(redis, processes):
    failing = "worker_started,worker_quiet,worker_stopped"
    GateJob.perform_later(1)
    with worker_process("-p", processes, "-c", "2", SIDEKICK_TEST_LISTEN=failing) as worker:
        wait_until(lambda: redis.llen("began") == 1, "the job to begin")
        worker.send(signal.SIGTERM)
        worker.wait_for("quiet: ")
        redis.rpush("gate", "go")
        assert worker.wait() == 0
        assert worker.output().count("RuntimeError: the listener fails") == 3

    assert (redis.llen("began"), redis.llen("ended")) == (1, 1)
    assert [k for k in redis.keys("sk:*") if not k.startswith(b"sk:push:")] == []


def test_a_listener_of_the_fork_that_raises_ends_that_child(redis):
    with worker_process("-p", "1", SIDEKICK_TEST_LISTEN="worker_forked") as worker:
        worker.wait_for("ended with 70")
        worker.send(signal.SIGTERM)
        assert worker.wait() == 0
