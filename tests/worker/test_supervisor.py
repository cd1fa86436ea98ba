"""`runworker -p N`: spawner, deaths, replacements, as real processes."""

from __future__ import annotations

import json
import os
import signal
import time

import pytest

from tests.app.jobs import EchoJob, GateJob, HoldGilJob, NoopJob
from tests.conftest import wait_until
from tests.worker.family import (
    BEAT_AND_SLACK_S,
    BEATS_OFTEN,
    NOTHING_COMES_BACK,
    began_on,
    children_of,
    is_alive,
    kept,
    members,
    ready,
    settings_module,
)
from tests.workers import worker_process

pytestmark = pytest.mark.usefixtures("redis")


def test_each_worker_is_a_member_and_the_service_is_not(redis):
    with worker_process("-p", "2", "-c", "3", "-q", "default", "-g", "mine") as worker:
        listed = ready(redis, 2)
        assert set(listed) < children_of(worker.process.pid)
        assert len(children_of(worker.process.pid)) == 3
        for identity in listed.values():
            info = json.loads(redis.hget(identity, "info"))
            assert (info["concurrency"], info["tag"], info["identity"]) == (3, "mine", identity)
            assert redis.hget(identity, "concurrency") == b"3"
            assert int(redis.hget(identity, "rss")) > 10_000
        worker.send(signal.SIGTERM)
        assert worker.wait() == 0

    assert kept(redis) == []
    assert redis.smembers("processes") == set()


LOOKS_RARELY = "from django_sidekick.worker import supervisor\nsupervisor.LOOK_EVERY_S = 60.0\n"


def test_a_killed_child_is_replaced_and_its_job_runs_again_at_once(redis, tmp_path):
    """The death itself is told: by itself the supervisor looks once a minute here, and no lease ends within 10 s."""
    with worker_process("-p", "2", "-c", "1", **settings_module(tmp_path, "rarely", LOOKS_RARELY)) as worker:
        ready(redis, 2)
        GateJob.perform_later(1)
        victim = began_on(redis)
        os.kill(victim, signal.SIGKILL)
        wait_until(lambda: redis.llen("began") == 2, "the job to run again", 8)
        redis.rpush("gate", "go")
        wait_until(lambda: len(ready(redis, 2)) == 2 and victim not in members(redis), "the next child")
        worker.wait_for("was killed by SIGKILL")


def test_the_service_is_replaced_too(redis):
    with worker_process("-p", "1") as worker:
        listed = ready(redis, 1)
        (service,) = children_of(worker.process.pid) - set(listed)
        os.kill(service, signal.SIGKILL)
        wait_until(lambda: len(children_of(worker.process.pid)) == 2, "the next service")
        EchoJob.set(wait=0.2).perform_later()
        wait_until(lambda: redis.llen("echo"), "the scheduled job")


def test_children_end_when_their_parent_is_killed(redis):
    with worker_process("-p", "2", "-c", "1") as worker:
        ready(redis, 2)
        orphans = children_of(worker.process.pid)
        GateJob.perform_later(1)
        began_on(redis)
        worker.kill()
        redis.rpush("gate", "go")
        wait_until(lambda: not any(is_alive(pid) for pid in orphans), "the orphans to end")

    assert redis.lrange("ended", 0, -1) == [b"1"]
    assert kept(redis) == []


def test_jobs_that_orphans_do_not_end_in_time_go_back(redis):
    with worker_process("-p", "2", "-c", "1", "-t", "0.5") as worker:
        ready(redis, 2)
        orphans = children_of(worker.process.pid)
        GateJob.perform_later(1)
        EchoJob.perform_bulk([(n,) for n in range(20)])
        began_on(redis)
        worker.kill()
        wait_until(lambda: not any(is_alive(pid) for pid in orphans), "the orphans to end")

    assert redis.llen("echo") + redis.llen("queue:default") == 21
    assert kept(redis) == []


def test_quiet_gives_back_and_lets_begun_jobs_end(redis):
    with worker_process("-p", "2", "-c", "1") as worker:
        listed = ready(redis, 2)
        GateJob.perform_later(1)
        began_on(redis)
        worker.send(signal.SIGTSTP)
        wait_until(lambda: all(redis.hget(i, "quiet") == b"true" for i in listed.values()), "the quiet")
        EchoJob.perform_later()
        wait_until(lambda: redis.llen("queue:default") == 1, "what an open wait took to be back", 1)
        redis.rpush("gate", "go")
        wait_until(lambda: redis.llen("ended") == 1, "the begun job")
        worker.send(signal.SIGTERM)
        assert worker.wait() == 0

    assert (redis.llen("echo"), redis.llen("queue:default")) == (0, 1)


@pytest.mark.parametrize("processes", ["0", "1"])
def test_quiet_gives_back_what_was_fetched_ahead_within_a_second(redis, tmp_path, processes):
    NoopJob.perform_bulk([(n,) for n in range(3000)])
    GateJob.perform_later(1)
    NoopJob.perform_bulk([(n,) for n in range(500)])
    with worker_process("-p", processes, "-c", "1", **settings_module(tmp_path, "holds", NOTHING_COMES_BACK)) as worker:
        began_on(redis)
        wait_until(lambda: redis.llen("queue:default") < 500, "some to be fetched ahead")
        worker.send(signal.SIGTSTP)
        wait_until(lambda: redis.llen("queue:default") == 500, "them to be back", 1)
        redis.rpush("gate", "go")
        wait_until(lambda: redis.llen("ended") == 1, "the begun job")
        worker.send(signal.SIGTERM)
        assert worker.wait() == 0


def test_two_interrupts_of_all_processes_are_one_drain(redis):
    with worker_process("-p", "2", "-c", "1") as worker:
        ready(redis, 2)
        GateJob.perform_bulk([(1,), (2,)])
        began_on(redis, 2)
        for _ in range(2):
            for pid in (*children_of(worker.process.pid), worker.process.pid):
                os.kill(pid, signal.SIGINT)
            wait_until(lambda: worker.output().count("Stopping: 1 jobs") == 2, "both to drain")
        redis.rpush("gate", "go", "go")
        assert worker.wait() == 0

    assert (redis.llen("began"), redis.llen("ended"), kept(redis)) == (2, 2, [])
    assert redis.smembers("processes") == set()


def test_term_pushes_back_what_does_not_end(redis):
    GateJob.perform_later(1)
    with worker_process("-p", "1", "-c", "2", "-t", "0.5") as worker:
        began_on(redis)
        worker.send(signal.SIGTERM)
        assert worker.wait() == 0
        assert "pushed back" in worker.output()

    assert redis.llen("queue:default") == 1
    assert kept(redis) == []


@pytest.fixture
def beats_often(tmp_path):
    """The environment of a worker that looks for buttons each second."""
    return settings_module(tmp_path, "often", BEATS_OFTEN)


def press(redis, identity, name):
    """As Sidekiq Web does it: see the samples api_quiet."""
    redis.pipeline(transaction=True).lpush(f"{identity}-signals", name).expire(f"{identity}-signals", 60).execute()


class TestDashboard:
    """What a button does comes with the next beat."""

    def test_a_stopped_child_is_not_replaced_and_after_the_last_one_the_supervisor_ends(self, redis, beats_often):
        with worker_process("-p", "2", **beats_often) as worker:
            first, second = ready(redis, 2).values()
            press(redis, first, "TERM")
            wait_until(lambda: list(members(redis).values()) == [second], "the first to end", BEAT_AND_SLACK_S)
            wait_until(lambda: len(children_of(worker.process.pid)) == 2, "the first to be gone")
            press(redis, second, "TERM")
            assert worker.wait(BEAT_AND_SLACK_S + 5) == 0

    def test_quiet_and_a_dump_reach_one_child(self, redis, beats_often):
        with worker_process("-p", "2", **beats_often) as worker:
            first, second = ready(redis, 2).values()
            press(redis, first, "TSTP")
            wait_until(lambda: redis.hget(first, "quiet") == b"true", "the quiet", BEAT_AND_SLACK_S)
            assert redis.hget(second, "quiet") == b"false"
            press(redis, first, "TTIN")
            worker.wait_for("WARNING sidekick: Thread", BEAT_AND_SLACK_S)

    @pytest.mark.parametrize("processes", ["0", "1"])
    def test_quiet_gives_back_what_was_fetched_ahead_within_a_second(self, redis, beats_often, processes):
        """Two jobs have begun and no thread is free; the jobs behind the second one were fetched with it."""
        with worker_process("-p", processes, "-c", "2", **beats_often) as worker:
            ((_, identity),) = ready(redis, 1).items()
            GateJob.perform_later(1)
            began_on(redis)
            NoopJob.perform_bulk([(n,) for n in range(3000)])
            GateJob.perform_later(2)
            NoopJob.perform_bulk([(n,) for n in range(500)])
            began_on(redis, 2)
            press(redis, identity, "TSTP")
            wait_until(lambda: redis.exists(f"{identity}-signals") == 0, "the beat", BEAT_AND_SLACK_S)
            wait_until(lambda: redis.llen("queue:default") == 500, "what was fetched ahead to be back", 1)
            wait_until(lambda: redis.hget(identity, "quiet") == b"true", "the quiet to be shown", BEAT_AND_SLACK_S)
            assert redis.llen("ended") == 0
            redis.rpush("gate", "go", "go")
            wait_until(lambda: redis.llen("ended") == 2, "the begun jobs")
            assert redis.llen("queue:default") == 500
            worker.send(signal.SIGTERM)
            assert worker.wait() == 0


SHORT_LEASES = """
from django_sidekick.broker import recovery
recovery.LEASE_S = 7
from django_sidekick.broker import ownership
ownership.RENEW_EVERY_S = 1
"""
"""Of 7 s instead of 15, renewed each second instead of each fifth: one that nobody renews is seen to end."""


def test_a_job_that_holds_the_gil_for_longer_than_a_lease_costs_neither_beat_nor_lease(redis, tmp_path):
    with worker_process("-p", "1", "-c", "1", **settings_module(tmp_path, "short", SHORT_LEASES + BEATS_OFTEN)) as worker:
        ((_, identity),) = ready(redis, 1).items()
        wait_until(lambda: redis.hget(identity, "busy") == b"0", "the first beat")
        assert redis.zscore("sk:owners", identity) < time.time() + 8
        HoldGilJob.perform_later(14.0)
        began_on(redis)
        began = time.monotonic()
        wait_until(lambda: redis.hget(identity, "busy") == b"1", "a beat in the meantime", 10)
        work = [json.loads(text) for text in redis.hvals(f"{identity}:work")]
        assert [json.loads(entry["payload"])["class"] for entry in work] == [HoldGilJob.name]

        def has_ended():
            assert redis.zscore("sk:owners", identity) > time.time(), "the lease is over"
            assert float(redis.hget(identity, "beat")) > time.time() - 7, "no beat has come"
            return redis.llen("ended")

        wait_until(has_ended, "its end", 30)
        assert time.monotonic() > began + 13, "it has held the GIL for longer than a lease"
        worker.send(signal.SIGTERM)
        assert worker.wait() == 0
        assert "taken over" not in worker.output()

    assert redis.llen("began") == 1


def test_drain_ends_with_zero(redis):
    EchoJob.perform_bulk([(n,) for n in range(50)])
    EchoJob.set(wait=0.1).perform_later("due soon")
    with worker_process("-p", "2", "--drain") as worker:
        assert worker.wait(40) == 0

    assert redis.llen("echo") >= 50


