"""`runworker -p N`: births, deaths, replacements, as real processes."""

from __future__ import annotations

import json
import os
import signal
import time
from pathlib import Path

import pytest

from django_sidekick.worker.offspring import BirthControl
from tests.app.jobs import EchoJob, GateJob, NoopJob
from tests.conftest import wait_until
from tests.workers import worker_process

pytestmark = pytest.mark.usefixtures("redis")


def members(redis):
    """Return pid -> identity of all that Sidekiq's pages would list."""
    return {int(name.split(b":")[1]): name.decode() for name in redis.smembers("processes")}


def children_of(pid):
    return {int(n) for n in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()}


def began_on(redis, count=1):
    wait_until(lambda: redis.llen("began") >= count, "the job to begin")
    return int(redis.lindex("began", -1).split(b":")[1])


def ready(redis, count):
    wait_until(lambda: len(members(redis)) == count, f"{count} members of processes")
    return members(redis)


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


def test_after_so_many_jobs_a_child_is_succeeded_by_a_new_one(redis):
    with worker_process("-p", "1", "-c", "1", SIDEKICK_TEST_CHILD_MAX_JOBS="5") as worker:
        (old,) = ready(redis, 1)
        EchoJob.perform_bulk([(n,) for n in range(20)])
        wait_until(lambda: old not in members(redis) and len(members(redis)) == 1, "the successor")
        wait_until(lambda: redis.llen("echo") == 20, "all jobs")
        worker.send(signal.SIGTERM)
        assert worker.wait() == 0
        assert "was killed" not in worker.output()


def test_a_child_that_has_grown_is_succeeded_by_a_new_one(redis):
    from tests.app.jobs import GrowJob

    with worker_process("-p", "1", "-c", "1", SIDEKICK_TEST_CHILD_MAX_MEMORY_MIB="200") as worker:
        (old,) = ready(redis, 1)
        GrowJob.perform_later(300)
        worker.wait_for("has grown to")
        wait_until(lambda: old not in members(redis) and len(members(redis)) == 1, "the successor")


class TestNewCode:
    def test_hup_replaces_all_children_and_keeps_the_pid(self, redis):
        with worker_process("-p", "2", "-c", "1") as worker:
            old = ready(redis, 2)
            GateJob.perform_later(1)
            busy = began_on(redis)
            worker.send(signal.SIGHUP)
            wait_until(lambda: len(set(members(redis)) - set(old)) == 2, "the new children", 30)
            EchoJob.perform_later("new")
            wait_until(lambda: redis.llen("echo") == 1, "a job of the new ones")
            assert Path(f"/proc/{busy}").exists(), "the old one ends its job first"
            redis.rpush("gate", "go")
            wait_until(lambda: set(members(redis)).isdisjoint(old), "the old ones to leave")
            wait_until(lambda: len(children_of(worker.process.pid)) == 3, "the old ones to be gone")
            worker.send(signal.SIGTERM)
            assert worker.wait() == 0

        assert (redis.llen("began"), redis.llen("ended")) == (1, 1)

    def test_code_that_does_not_start_is_found_out_before(self, redis, tmp_path):
        (tmp_path / "fragile.py").write_text("from tests.settings import *\n")
        with worker_process("-p", "1", DJANGO_SETTINGS_MODULE="fragile", PYTHONPATH=f"{tmp_path}:{Path.cwd()}") as worker:
            old = ready(redis, 1)
            (tmp_path / "fragile.py").write_text("raise RuntimeError('broken deploy')\n")
            worker.send(signal.SIGHUP)
            worker.wait_for("The new code does not start")
            worker.wait_for("broken deploy")
            EchoJob.perform_later()
            wait_until(lambda: redis.llen("echo") == 1, "a job of the old code")
            assert members(redis) == old


def test_reload_starts_anew_when_code_changes(redis, tmp_path):
    (tmp_path / "edited.py").write_text("from tests.settings import *\n")
    with worker_process("-p", "0", "--reload", DJANGO_SETTINGS_MODULE="edited", PYTHONPATH=f"{tmp_path}:{Path.cwd()}") as worker:
        (old,) = ready(redis, 1)
        later = time.time() + 5
        os.utime(tmp_path / "edited.py", (later, later))
        worker.wait_for("starting anew")
        wait_until(lambda: members(redis) and old not in members(redis), "the new worker")
        worker.send(signal.SIGTERM)
        assert worker.wait() == 0

    assert redis.smembers("processes") == set()


def test_drain_ends_with_zero(redis):
    EchoJob.perform_bulk([(n,) for n in range(50)])
    EchoJob.set(wait=0.1).perform_later("due soon")
    with worker_process("-p", "2", "--drain") as worker:
        assert worker.wait(40) == 0

    assert redis.llen("echo") >= 50


def test_listeners_are_told_of_births(redis):
    with worker_process("-p", "1", SIDEKICK_TEST_LISTEN="1") as worker:
        ready(redis, 1)
        worker.wait_for("forked: worker")
        worker.wait_for("forked: service")
        worker.wait_for("started: ")
        worker.send(signal.SIGTERM)
        worker.wait_for("stopped: ")


def test_births_are_put_off_only_when_children_keep_dying_young():
    births = BirthControl()

    assert births.pause_s(3600) == 0
    assert [births.pause_s(1) for _ in range(8)] == [0, 1, 2, 4, 8, 16, 30, 30]
    assert births.pause_s(11) == 0
    assert births.pause_s(1) == 0
