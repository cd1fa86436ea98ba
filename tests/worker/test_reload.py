"""`runworker --reload`: the watcher and its worker."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import pytest

from tests.app.jobs import GateJob
from tests.conftest import wait_until
from tests.worker.family import (
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


def test_reload_starts_anew_when_code_changes(redis, tmp_path):
    (tmp_path / "edited.py").write_text("from tests.settings import *\n")
    with worker_process("-p", "0", "--reload", DJANGO_SETTINGS_MODULE="edited", PYTHONPATH=f"{tmp_path}:{Path.cwd()}") as worker:
        (old,) = ready(redis, 1)
        later = time.time() + 5
        os.utime(tmp_path / "edited.py", (later, later))
        worker.wait_for("starting anew")
        wait_until(lambda: (now := members(redis)) and old not in now, "the new worker")
        worker.send(signal.SIGTERM)
        assert worker.wait() == 0

    assert redis.smembers("processes") == set()


@pytest.mark.parametrize("processes", ["0", "1"])
def test_a_module_imported_since_the_start_is_watched_too(redis, tmp_path, processes):
    (tmp_path / "later").mkdir()
    (tmp_path / "later" / "new_module.py").write_text("x = 1\n")
    edited = settings_module(tmp_path, "edited", f"sys.path.append({str(tmp_path / 'later')!r})\n")
    with worker_process("-p", processes, "--reload", **edited) as worker:
        ready(redis, 1)
        with (tmp_path / "edited.py").open("a") as file:
            file.write("import new_module\n")
        worker.wait_for("starting anew")
        old = wait_until(lambda: members(redis), "the second worker")
        tick = time.time()

        def edit_until_seen():
            nonlocal tick
            os.utime(tmp_path / "later" / "new_module.py", (tick := tick + 1, tick))
            return worker.output().count("starting anew") > 1

        wait_until(edit_until_seen, "the change of the new module")
        wait_until(lambda: (now := members(redis)) and set(now).isdisjoint(old), "the third worker")
        worker.send(signal.SIGTERM)
        assert worker.wait() == 0


@pytest.mark.parametrize("processes", ["0", "1"])
def test_the_worker_ends_when_its_watcher_is_killed(redis, processes):
    with worker_process("-p", processes, "-c", "1", "--reload") as watcher:
        ready(redis, 1)
        (worker,) = children_of(watcher.process.pid)
        GateJob.perform_later(1)
        began_on(redis)
        watcher.kill()
        redis.rpush("gate", "go")
        wait_until(lambda: not is_alive(worker), "the worker to end")

    assert (redis.llen("ended"), kept(redis)) == (1, [])
