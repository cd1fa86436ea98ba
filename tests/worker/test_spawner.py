"""How children of a supervisor begin, how long they may live, and what is left of them."""

from __future__ import annotations

import itertools
import json
import os
import re
import signal
import statistics
import subprocess
import time
from collections import Counter

import pytest

from django_sidekick.worker.supervised import RestartBackoff, reap_strangers
from tests.app.jobs import (
    EchoJob,
    ExitJob,
    FactsJob,
    GateJob,
    GrowJob,
    NoopJob,
    OrphanJob,
)
from tests.conftest import wait_until
from tests.worker.family import (
    BEATS_OFTEN,
    began_on,
    children_of,
    files_of,
    is_alive,
    members,
    ready,
    settings_module,
    state_of,
    zombies_of,
)
from tests.workers import worker_process

pytestmark = pytest.mark.usefixtures("redis")

FORK_FAILS = """
import errno
real_fork, calls = os.fork, []
def fork():
    calls.append(1)
    if len(calls) in (1, 4):
        raise OSError(errno.EAGAIN, "Resource temporarily unavailable")
    return real_fork()
os.fork = fork
"""


def test_a_fork_that_fails_is_tried_again(redis, tmp_path):
    with worker_process("-p", "1", "-c", "1", **settings_module(tmp_path, "poor", FORK_FAILS)) as worker:
        (first,) = ready(redis, 1)
        wait_until(lambda: len(children_of(worker.process.pid)) == 2, "worker and service")
        files = files_of(worker.process.pid)
        os.kill(first, signal.SIGKILL)
        wait_until(lambda: (now := members(redis)) and first not in now, "the next child")
        assert worker.output().count("Resource temporarily unavailable") == 2
        wait_until(lambda: files_of(worker.process.pid) <= files, "what was opened for nothing to be closed")
        EchoJob.perform_later()
        wait_until(lambda: redis.llen("echo"), "a job")
        worker.send(signal.SIGTERM)
        assert worker.wait() == 0


@pytest.mark.parametrize("processes", ["0", "1"])
def test_programs_that_jobs_start_find_clean_signals(redis, processes):
    with worker_process("-p", processes, "-c", "1"):
        FactsJob.perform_later()
        wait_until(lambda: redis.llen("facts"), "the facts")

    facts = json.loads(redis.lpop("facts"))
    named = (1 << 31) - 1  # what lies above are real-time signals: the machine's own affair
    assert int(facts["SigBlk"], 16) & named == 0
    assert int(facts["SigIgn"], 16) & named == 0


def test_children_share_what_was_loaded(redis):
    with worker_process("-p", "1", "-c", "1"):
        FactsJob.perform_later()
        wait_until(lambda: redis.llen("facts"), "the facts")

    assert json.loads(redis.lpop("facts"))["frozen"] > 10_000


def test_a_hangup_of_the_process_group_ends_no_child(redis):
    with worker_process("-p", "1", "-c", "1") as worker:
        listed = ready(redis, 1)
        GateJob.perform_later(1)
        for child in children_of(worker.process.pid):
            os.kill(child, signal.SIGHUP)
        began_on(redis)
        redis.rpush("gate", "go")
        wait_until(lambda: redis.llen("ended") == 1, "the job")
        assert members(redis) == listed


def test_orphans_of_jobs_do_not_stay_as_zombies(redis, tmp_path):
    adopts = "import ctypes\nctypes.CDLL(None).prctl(36, 1, 0, 0, 0)  # PR_SET_CHILD_SUBREAPER: as process 1 does\n"
    with worker_process("-p", "1", "-c", "1", **settings_module(tmp_path, "adopts", adopts)) as worker:
        (child,) = ready(redis, 1)
        OrphanJob.perform_bulk([()] * 5)
        EchoJob.perform_later()
        wait_until(lambda: redis.llen("echo"), "the jobs")
        wait_until(lambda: not zombies_of(worker.process.pid), "the zombies to go")
        os.kill(child, signal.SIGKILL)
        worker.wait_for("was killed by SIGKILL")
        worker.send(signal.SIGTERM)
        assert worker.wait() == 0


def test_only_strangers_are_taken_out_of_the_process_table():
    own, stranger = (subprocess.Popen(["sh", "-c", "exit 3"]) for _ in range(2))
    wait_until(lambda: state_of(own.pid) == state_of(stranger.pid) == "Z", "the ends")

    reap_strangers({own.pid, stranger.pid})
    assert own.wait() == 3
    reap_strangers(set())
    assert state_of(stranger.pid) == ""
    stranger.wait()
    reap_strangers(set())


def test_a_job_that_ends_its_process_is_to_blame(redis):
    with worker_process("-p", "1", "-c", "1") as worker:
        ExitJob.perform_later(3)
        wait_until(lambda: redis.zcard("dead") == 1, "the poison")
        assert "ended with 3" in worker.output()


def test_an_error_of_ours_that_ends_a_child_is_blamed_on_no_job(redis, tmp_path):
    fails = """
from django_sidekick.worker import child
def look_around(self):
    if os.path.exists(__file__ + ".fails"):
        os.unlink(__file__ + ".fails")
        raise RuntimeError("our own error")
child.Child._look_around = look_around
"""
    with worker_process("-p", "1", "-c", "1", **settings_module(tmp_path, "fails", fails)) as worker:
        GateJob.perform_later(1)
        began_on(redis)
        (tmp_path / "fails.py.fails").touch()
        worker.wait_for("our own error")
        worker.wait_for("ended with 70")
        wait_until(lambda: redis.llen("began") == 2, "the job to run again")
        assert redis.keys("sk:crashes:*") == []
        redis.rpush("gate", "go")
        worker.send(signal.SIGTERM)
        assert worker.wait() == 0


def test_a_dismissed_child_that_hangs_is_killed_without_blame(redis, tmp_path):
    hasty = settings_module(tmp_path, "hasty", BEATS_OFTEN + "from django_sidekick.worker import supervisor\nsupervisor.KILL_AFTER_S = 0.5\n")
    with worker_process("-p", "2", "-c", "1", "-t", "0.5", **hasty) as worker:
        listed = ready(redis, 2)
        GateJob.perform_later(1)
        hung = began_on(redis)
        os.kill(hung, signal.SIGSTOP)
        wait_until(lambda: state_of(hung) == "T", "the stop")
        redis.lpush(f"{listed[hung]}-signals", "TERM")
        worker.wait_for("does not end: killed")
        wait_until(lambda: redis.llen("began") == 2, "its job to run elsewhere")
        assert not is_alive(hung)
        assert redis.keys("sk:crashes:*") == []
        assert len(children_of(worker.process.pid)) == 2
        redis.rpush("gate", "go")
        worker.send(signal.SIGTERM)
        assert worker.wait() == 0


def test_after_so_many_jobs_a_child_is_succeeded_by_a_new_one(redis):
    with worker_process("-p", "1", "-c", "1", SIDEKICK_TEST_CHILD_MAX_JOBS="5") as worker:
        (old,) = ready(redis, 1)
        EchoJob.perform_bulk([(n,) for n in range(20)])
        wait_until(lambda: old not in members(redis) and len(members(redis)) == 1, "the replacement")
        wait_until(lambda: redis.llen("echo") == 20, "all jobs")
        worker.send(signal.SIGTERM)
        assert worker.wait() == 0
        assert "was killed" not in worker.output()


def test_a_child_that_has_grown_is_succeeded_by_a_new_one(redis):
    with worker_process("-p", "1", "-c", "1", SIDEKICK_TEST_CHILD_MAX_MEMORY_MIB="200") as worker:
        (old,) = ready(redis, 1)
        GrowJob.perform_later(300)
        worker.wait_for("has grown to")
        wait_until(lambda: old not in members(redis) and len(members(redis)) == 1, "the replacement")


def test_new_children_stand_ready_before_old_ones_go(redis, tmp_path):
    """Two at every moment, however many are recycled: the listeners tell the order in which processes start and go quiet.

    Of jobs nothing is logged: a block of many lines is written in parts, and a listener's line would fall between them.
    """
    silent = settings_module(tmp_path, "silent", 'SIDEKICK["LOG_JOBS"] = False\n')
    with worker_process("-p", "2", "-c", "1", SIDEKICK_TEST_CHILD_MAX_JOBS="20", SIDEKICK_TEST_LISTEN="1", **silent) as worker:
        seen = set(ready(redis, 2))
        wait_until(lambda: NoopJob.perform_bulk([()] * 20) and seen.update(members(redis)) or len(seen) > 5, "four replacements", 40)
        told = [line.split(": ") for line in worker.output().splitlines() if line.startswith(("started: ", "quiet: "))]
        worker.send(signal.SIGTERM)
        assert worker.wait() == 0
        assert "was killed" not in worker.output()

    there = list(itertools.accumulate(1 if what == "started" else -1 for what, _ in told))
    assert [what for what, _ in told].count("quiet") >= 2
    assert min(there[1:]) == 2, told


def test_one_that_lived_long_is_replaced_at_once_and_those_that_die_young_later_and_later(redis, tmp_path):
    hasty = "from django_sidekick.worker import supervised as s\ns.FIRST_PAUSE_S = 1.0\ns.RestartBackoff.__init__.__defaults__ = (2.0, 30.0)\n"
    with worker_process("-p", "1", "-c", "1", **settings_module(tmp_path, "hasty", hasty)) as worker:
        (first,) = ready(redis, 1)
        others = children_of(worker.process.pid) - {first}
        paused = [until_replaced_s(worker, others, age_s) for age_s in (2.5, 0, 0, 0, 2.5, 0)]
        worker.send(signal.SIGTERM)
        assert worker.wait() == 0

    told = re.findall("the next one comes (at once|in [0-9]+ s)", worker.last_output)
    assert told == ["at once", "at once", "in 1 s", "in 2 s", "at once", "at once"], worker.last_output
    late = [pause - wanted for pause, wanted in zip(paused, (0, 0, 1, 2, 0, 0), strict=True)]
    assert min(late) >= 0, late
    assert statistics.median(late) < 0.5, f"one that a busy machine holds up is no failure: {late}"


def until_replaced_s(worker, others, age_s):
    """Kill the child that is none of the others when it is so old. Return the seconds until there is another one."""
    (pid,) = wait_until(lambda: children_of(worker.process.pid) - others, "a child")
    born = time.monotonic()
    wait_until(lambda: time.monotonic() >= born + age_s, "its age")
    killed = time.monotonic()
    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: children_of(worker.process.pid) - others - {pid}, "the next child")
    return time.monotonic() - killed


def test_restarts_are_put_off_only_when_children_keep_dying_young():
    spawner = RestartBackoff()

    assert spawner.pause_s(3600) == 0
    assert [spawner.pause_s(1) for _ in range(8)] == [0, 1, 2, 4, 8, 16, 30, 30]
    assert spawner.pause_s(11) == 0
    assert spawner.pause_s(1) == 0


def test_restarts_for_memory_become_rare_when_new_children_are_too_big():
    spawner = RestartBackoff(30, 600)

    assert [spawner.pause_s(5) for _ in range(13)] == [0, 1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 600, 600]
    assert spawner.pause_s(31) == 0


def test_a_memory_limit_below_the_base_size_is_said_once_and_does_not_churn(redis, tmp_path):
    often = settings_module(tmp_path, "often", "from django_sidekick.worker import memory\nmemory.LOOK_EVERY_S = 0.1\n")
    with worker_process("-p", "1", "-c", "1", SIDEKICK_TEST_CHILD_MAX_MEMORY_MIB="20", **often) as worker:
        worker.wait_for("CHILD_MAX_MEMORY_MIB is 20, but a worker process has")
        born = set()

        def note():
            born.update(json.loads(redis.hget(identity, "info"))["started_at"] for identity in members(redis).values())
            return len(born) == 5

        wait_until(note, "five children", 40)
        assert worker.output().count("CHILD_MAX_MEMORY_MIB") == 1
        assert "has grown" not in worker.output()

    pauses = [later - earlier for earlier, later in itertools.pairwise(sorted(born))]
    assert [pause >= least for pause, least in zip(pauses, (0, 1, 2, 4), strict=True)] == [True] * 4, pauses


def test_the_limit_of_jobs_is_noticed_soon(redis):
    """As soon as so many have run, and not with the next look a second later: the old one is held in its next job."""
    GateJob.perform_bulk([(n,) for n in range(30)])
    with worker_process("-p", "1", "-c", "1", SIDEKICK_TEST_CHILD_MAX_JOBS="20") as worker:
        wait_until(lambda: redis.llen("began") == 1, "the first job", 30)
        redis.rpush("gate", *range(20))
        wait_until(lambda: redis.llen("began") > 20, "the job after the last", 30)
        began = redis.lrange("began", 0, -1)
        wait_until(lambda: len(pids(redis.lrange("began", 0, -1))) == 2, "the replacement's first job", 30)
        assert len(pids(began[:20])) == 1
        redis.rpush("gate", *range(100))
        wait_until(lambda: redis.llen("ended") == 30, "all jobs", 30)
        worker.send(signal.SIGTERM)
        assert worker.wait() == 0

    ran = Counter(entry.split(b":")[1] for entry in redis.lrange("began", 0, -1))
    assert max(ran.values()) <= 21, "what it had fetched ahead went back"


def pids(began):
    return {entry.split(b":")[1] for entry in began}
