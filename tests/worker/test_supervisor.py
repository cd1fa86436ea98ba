"""`runworker -p N`: births, deaths, replacements, as real processes."""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from pathlib import Path

import pytest

from tests.app.jobs import EchoJob, GateJob, NoopJob
from tests.conftest import wait_until
from tests.worker.family import began_on, children_of, members, ready
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

    assert [k for k in redis.keys("sk:*") if not k.startswith(b"sk:push:")] == []
    assert redis.smembers("processes") == set()


def test_a_killed_child_is_replaced_and_its_job_runs_again_at_once(redis):
    with worker_process("-p", "2", "-c", "1") as worker:
        ready(redis, 2)
        GateJob.perform_later(1)
        victim = began_on(redis)
        killed = time.monotonic()
        os.kill(victim, signal.SIGKILL)
        wait_until(lambda: redis.llen("began") == 2, "the job to run again", 2)
        assert time.monotonic() - killed < 1
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
        wait_until(lambda: not any(Path(f"/proc/{pid}/stat").exists() and "Z" not in Path(f"/proc/{pid}/stat").read_text().split()[2] for pid in orphans), "the orphans to end")

    assert redis.lrange("ended", 0, -1) == [b"1"]
    assert [k for k in redis.keys("sk:*") if not k.startswith(b"sk:push:")] == []


def test_quiet_gives_back_and_lets_begun_jobs_end(redis):
    with worker_process("-p", "2", "-c", "1") as worker:
        listed = ready(redis, 2)
        GateJob.perform_later(1)
        began_on(redis)
        worker.send(signal.SIGTSTP)
        wait_until(lambda: all(redis.hget(i, "quiet") == b"true" for i in listed.values()), "the quiet")
        NoopJob.perform_later()
        redis.rpush("gate", "go")
        wait_until(lambda: redis.llen("ended") == 1, "the begun job")
        assert redis.llen("queue:default") == 1
        worker.send(signal.SIGTERM)
        assert worker.wait() == 0


def test_term_pushes_back_what_does_not_end(redis):
    GateJob.perform_later(1)
    with worker_process("-p", "1", "-c", "2", "-t", "0.5") as worker:
        began_on(redis)
        worker.send(signal.SIGTERM)
        assert worker.wait() == 0
        assert "pushed back" in worker.output()

    assert redis.llen("queue:default") == 1
    assert [k for k in redis.keys("sk:*") if not k.startswith(b"sk:push:")] == []


class TestDashboard:
    def press(self, redis, identity, name):
        redis.lpush(f"{identity}-signals", name)

    def test_a_stopped_child_is_not_replaced_and_after_the_last_one_the_supervisor_ends(self, redis):
        with worker_process("-p", "2") as worker:
            first, second = ready(redis, 2).values()
            self.press(redis, first, "TERM")
            wait_until(lambda: list(members(redis).values()) == [second], "the first to end", 15)
            wait_until(lambda: len(children_of(worker.process.pid)) == 2, "the first to be gone")
            self.press(redis, second, "TERM")
            assert worker.wait(20) == 0

    def test_quiet_and_a_dump_reach_one_child(self, redis):
        with worker_process("-p", "2") as worker:
            first, second = ready(redis, 2).values()
            self.press(redis, first, "TSTP")
            wait_until(lambda: redis.hget(first, "quiet") == b"true", "the quiet", 15)
            assert redis.hget(second, "quiet") == b"false"
            self.press(redis, first, "TTIN")
            worker.wait_for("WARNING sidekick: Thread")


def test_a_job_that_holds_the_gil_does_not_hold_up_the_beat(redis):
    from tests.app.jobs import HoldGilJob

    with worker_process("-p", "1", "-c", "1") as worker:
        ((pid, identity),) = ready(redis, 1).items()
        wait_until(lambda: redis.hget(identity, "busy") == b"0", "the first beat")
        HoldGilJob.perform_later(13.0)
        began_on(redis)
        wait_until(lambda: redis.hget(identity, "busy") == b"1", "a beat in the meantime", 12)
        work = [json.loads(text) for text in redis.hvals(f"{identity}:work")]
        assert [json.loads(entry["payload"])["class"] for entry in work] == [HoldGilJob.name]
        assert redis.llen("ended") == 0
        assert redis.zscore("sk:owners", identity) > time.time()
        wait_until(lambda: redis.llen("ended") == 1, "its end", 15)
        worker.send(signal.SIGTERM)
        assert worker.wait() == 0

    assert redis.llen("began") == 1


def test_drain_ends_with_zero(redis):
    EchoJob.perform_bulk([(n,) for n in range(50)])
    EchoJob.set(wait=0.1).perform_later("due soon")
    with worker_process("-p", "2", "--drain") as worker:
        assert worker.wait(40) == 0

    assert redis.llen("echo") >= 50


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_redis_away_holds_up_no_signal(redis):
    with worker_process("-p", "1", "-t", "1", SIDEKICK_TEST_PORT="1") as worker:
        worker.wait_for("is away")
        worker.send(signal.SIGTERM)
        assert worker.wait(10) == 0
        assert "Traceback" not in worker.output()
