"""HUP: a running worker becomes its new code, without a gap."""

from __future__ import annotations

import signal
import threading
from pathlib import Path

import pytest

from tests.app.jobs import EchoJob, GateJob, StampJob
from tests.conftest import wait_until
from tests.worker.family import (
    began_on,
    children_of,
    files_of,
    is_alive,
    kept,
    members,
    ready,
    settings_module,
    zombies_of,
)
from tests.workers import worker_process

pytestmark = pytest.mark.usefixtures("redis")

LOADS_SLOWLY = """
import threading
if "DJANGO_SIDEKICK_INHERITANCE" in os.environ:
    sys.stderr.write("new code loads\\n")
    while not os.path.exists(__file__ + ".loaded"):
        threading.Event().wait(0.01)
    os.unlink(__file__ + ".loaded")
"""

NOTES_LEASES = """
import redis
from django_sidekick.worker import custody, recovery
custody.RENEW_EVERY_S = recovery.RENEW_EVERY_S = 1000  # so that nobody renews but who is about to exec
real_execv = os.execv
def execv(path, words):
    client = redis.Redis.from_url(SIDEKICK["REDIS"])
    now = client.time()[0]
    client.rpush("left", *(int(end) - now for _, end in client.zrange("sk:owners", 0, -1, withscores=True)))
    client.close()
    real_execv(path, words)
os.execv = execv
"""


def renewed(redis, worker, old, count):
    """Wait until none of the old ones is left."""
    wait_until(lambda: len(now := members(redis)) == count and set(now).isdisjoint(old), "new children", 30)
    wait_until(lambda: len(children_of(worker.process.pid)) == count + 1, "the old ones to be gone")


def test_hup_replaces_all_children_and_keeps_the_pid(redis):
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


def test_leases_are_renewed_right_before_the_new_code_is_loaded(redis, tmp_path):
    """However long it takes to load: who is not renewed while it does has the whole of a lease."""
    with worker_process("-p", "2", "-c", "1", **settings_module(tmp_path, "notes", NOTES_LEASES)) as worker:
        old = ready(redis, 2)
        soon = redis.time()[0] + 12
        redis.zadd("sk:owners", dict.fromkeys(old.values(), soon))
        worker.send(signal.SIGHUP)
        left = wait_until(lambda: redis.lrange("left", 0, -1), "the exec", 30)
        worker.send(signal.SIGTERM)
        assert worker.wait() == 0

    assert [int(seconds) > 12 for seconds in left] == [True, True]


def test_code_that_does_not_start_is_found_out_before(redis, tmp_path):
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


def test_a_talkative_start_is_no_obstacle(redis, tmp_path):
    noisy = settings_module(tmp_path, "noisy", 'sys.stderr.write("w" * 200_000 if "DJANGO_SIDEKICK_REHEARSAL" in os.environ else "")\n')
    with worker_process("-p", "1", **noisy) as worker:
        old = ready(redis, 1)
        worker.send(signal.SIGHUP)
        renewed(redis, worker, old, 1)
        worker.send(signal.SIGTERM)
        assert worker.wait() == 0


def test_code_that_hangs_at_its_start_is_given_up_and_a_later_hup_works(redis, tmp_path):
    hangs = """
import threading
from django_sidekick.worker import reexec
begin = reexec._Rehearsal.__init__
def begin_patiently(self):
    reexec.REHEARSAL_S = 60 if os.path.exists(__file__ + ".mended") else 3  # what does not hang may take its time
    begin(self)
reexec._Rehearsal.__init__ = begin_patiently
if "DJANGO_SIDEKICK_REHEARSAL" in os.environ and not os.path.exists(__file__ + ".mended"):
    threading.Event().wait(100)
"""
    with worker_process("-p", "1", **settings_module(tmp_path, "hangs", hangs)) as worker:
        old = ready(redis, 1)
        worker.send(signal.SIGHUP)
        worker.wait_for("has not ended within 3 s")
        assert members(redis) == old
        wait_until(lambda: len(children_of(worker.process.pid)) == 2, "the end of the rehearsal")
        (tmp_path / "hangs.py.mended").touch()
        worker.send(signal.SIGHUP)
        renewed(redis, worker, old, 1)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGTSTP, signal.SIGHUP])
def test_a_signal_while_new_code_loads_is_obeyed_afterwards(redis, tmp_path, number):
    loaded = tmp_path / "slow.py.loaded"
    with worker_process("-p", "1", "-c", "1", **settings_module(tmp_path, "slow", LOADS_SLOWLY)) as worker:
        ready(redis, 1)
        GateJob.perform_later(1)
        busy = began_on(redis)
        worker.send(signal.SIGHUP)
        worker.wait_for("new code loads")
        worker.send(number)
        loaded.touch()
        if number == signal.SIGHUP:
            wait_until(lambda: worker.output().count("new code loads") == 2, "the second renewal", 30)
            worker.send(signal.SIGTERM)
            loaded.touch()
        wait_until(lambda: redis.hget(members(redis)[busy], "quiet") == b"true", "the quiet")
        redis.rpush("gate", "go")
        wait_until(lambda: redis.llen("ended"), "the end of the job")
        if number == signal.SIGTSTP:
            assert members(redis)[busy]
            worker.send(signal.SIGTERM)
        assert worker.wait() == 0

    assert (redis.llen("began"), redis.llen("ended"), kept(redis)) == (1, 1, [])


def test_term_while_new_code_is_tried_ends_all(redis, tmp_path):
    slow = settings_module(tmp_path, "slow", 'import threading\nif "DJANGO_SIDEKICK_REHEARSAL" in os.environ: threading.Event().wait(30)\n')
    with worker_process("-p", "2", **slow) as worker:
        ready(redis, 2)
        worker.send(signal.SIGHUP)
        wait_until(lambda: len(children_of(worker.process.pid)) == 4, "the rehearsal")
        every_one = children_of(worker.process.pid)
        worker.send(signal.SIGTERM)
        assert worker.wait() == 0
        assert not any(is_alive(pid) for pid in every_one)

    assert kept(redis) == []


def test_a_quiet_worker_stays_quiet(redis):
    with worker_process("-p", "2", "-c", "1") as worker:
        old = ready(redis, 2)
        GateJob.perform_later(1)
        busy = began_on(redis)
        worker.send(signal.SIGTSTP)
        wait_until(lambda: all(redis.hget(i, "quiet") == b"true" for i in old.values()), "the quiet")
        (service,) = children_of(worker.process.pid) - set(old)
        worker.send(signal.SIGHUP)
        wait_until(lambda: not is_alive(service), "the new service", 30)
        EchoJob.perform_later()
        redis.rpush("gate", "go")
        wait_until(lambda: redis.llen("ended") == 1, "the begun job")
        assert members(redis) == old
        assert redis.hget(old[busy], "quiet") == b"true"
        worker.send(signal.SIGTERM)
        assert worker.wait() == 0

    assert (redis.llen("echo"), redis.llen("queue:default")) == (0, 1)


def test_children_are_replaced_one_after_the_other_and_nothing_is_left_over(redis):
    with worker_process("-p", "4", "-c", "1") as worker:
        pid, most, old = worker.process.pid, 0, ready(redis, 4)
        figures = []
        for _ in range(3):
            for n in range(4):
                GateJob.perform_later(n)
            wait_until(lambda: redis.llen("began") >= 4, "all to be busy")
            worker.send(signal.SIGHUP)

            def replaced(old=old):
                nonlocal most
                born = [child for child in children_of(pid) - set(members(redis)) if is_alive(child)]
                most = max(most, len(born))
                return len(set(members(redis)) - set(old)) == 4

            wait_until(replaced, "the new ones", 40)
            redis.rpush("gate", *range(4))
            renewed(redis, worker, old, 4)
            old = ready(redis, 4)
            redis.delete("began")
            figures.append((files_open(pid), [files_open(child) for child in sorted(old)], zombies_of(pid)))

        assert figures[0][0] == figures[2][0], "open files of the supervisor"
        assert max(figures[2][1]) <= max(figures[0][1]), "open files of the children"
        assert [figure[2] for figure in figures] == [[]] * 3
        assert most <= 4, "two services, a rehearsal, one newborn"


def files_open(pid):
    """Return how many files stay open: a beat has one more for a moment."""
    counts = []
    wait_until(lambda: counts.append(files_of(pid)) or len(counts) == 10, "ten looks")
    return min(counts)


def test_jobs_go_on_while_children_are_replaced(redis):
    """A new child takes 4 s to start here: an old one that did not wait for it would leave a gap."""
    stop = threading.Event()
    with worker_process("-p", "1", "-c", "2", SIDEKICK_TEST_LISTEN="slow") as worker:
        old = ready(redis, 1)

        def push():
            number = 0
            while not stop.wait(0.01):
                StampJob.perform_later(number := number + 1)

        pusher = threading.Thread(target=push)
        pusher.start()
        wait_until(lambda: redis.llen("stamps") > 20, "the first")
        worker.send(signal.SIGHUP)
        renewed(redis, worker, old, 1)
        seen = redis.llen("stamps")
        wait_until(lambda: redis.llen("stamps") > seen + 20, "the last")
        stop.set()
        pusher.join()
        worker.send(signal.SIGTERM)
        assert worker.wait() == 0

    ran = sorted(float(entry.split(b":")[0]) for entry in redis.lrange("stamps", 0, -1))
    longest = max(later - earlier for earlier, later in zip(ran, ran[1:], strict=False))
    assert longest < 3.5
    assert kept(redis) == []


class TestAlone:
    """-p 0: no children to go on meanwhile, but nothing is lost, and the process stays the same."""

    def test_hup_drains_and_goes_on_with_new_code(self, redis):
        with worker_process("-p", "0", "-c", "1") as worker:
            ((pid, old),) = ready(redis, 1).items()
            GateJob.perform_later(1)
            began_on(redis)
            worker.send(signal.SIGHUP)
            wait_until(lambda: redis.hget(old, "quiet") == b"true" or "Stopping" in worker.output(), "the drain", 20)
            redis.rpush("gate", "go")
            wait_until(lambda: old not in members(redis).values() and pid in members(redis), "the new code", 20)
            EchoJob.perform_later()
            wait_until(lambda: redis.llen("echo") == 1, "a job of the new code")
            assert "Going on with new code" in worker.output()
            worker.send(signal.SIGTERM)
            assert worker.wait() == 0

        assert (redis.llen("began"), redis.llen("ended"), kept(redis)) == (1, 1, [])

    def test_code_that_does_not_start_is_found_out_before(self, redis, tmp_path):
        fragile = settings_module(tmp_path, "fragile")
        with worker_process("-p", "0", **fragile) as worker:
            old = ready(redis, 1)
            (tmp_path / "fragile.py").write_text("raise RuntimeError('broken deploy')\n")
            worker.send(signal.SIGHUP)
            worker.wait_for("broken deploy")
            EchoJob.perform_later()
            wait_until(lambda: redis.llen("echo") == 1, "a job of the old code")
            assert members(redis) == old

    def test_term_during_the_drain_calls_the_new_code_off(self, redis):
        with worker_process("-p", "0", "-c", "1") as worker:
            ready(redis, 1)
            GateJob.perform_later(1)
            began_on(redis)
            worker.send(signal.SIGHUP)
            worker.wait_for("Stopping")
            worker.send(signal.SIGTERM)
            redis.rpush("gate", "go")
            assert worker.wait() == 0
            assert "Going on" not in worker.output()
