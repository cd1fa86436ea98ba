"""Workers for the tests: a Child in this process, or `runworker` in another."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

from django_sidekick.conf import get_settings
from django_sidekick.feature import load_features
from django_sidekick.jobs.execute import Executor
from django_sidekick.worker.child import Child
from django_sidekick.worker.options import WorkerOptions
from tests.conftest import wait_until
from tests.worker.family import is_alive

ROOT = Path(__file__).resolve().parent.parent


def child(*queues: str, concurrency: int = 2, timeout_s: float = 5.0, **keys: Any) -> Child:
    settings = get_settings()
    options = WorkerOptions(
        settings=settings,
        queues=tuple((name, 0) for name in queues or ("default",)),
        concurrency=concurrency,
        shutdown_timeout_s=timeout_s,
        tag="tests",
    )
    layers = (keys["job_log"].middleware,) if "job_log" in keys else ()
    executor = Executor(settings, features=load_features(settings), layers=layers)
    return Child(options, executor, **keys)


def settled_by(worker: Child) -> int:
    """Return how many runs Redis has acknowledged: a worker looks idle, too, between its buffer and the beginning of a job."""
    return worker.intake.tally.totals()[0]


@contextlib.contextmanager
def running(worker: Child) -> Iterator[Child]:
    """Run a Child's main loop in a thread; stop it at the end."""
    thread = threading.Thread(target=worker.run, daemon=True)
    thread.start()
    try:
        yield worker
    finally:
        worker.ask_stop()
        thread.join(30)
        assert not thread.is_alive(), "the worker did not stop"


class WorkerProcess:
    """`runworker` in a process of its own, `-p 0` unless the words say otherwise."""

    def __init__(self, *words: str, **environment: str) -> None:
        words = words if "-p" in words else ("-p", "0", *words)
        self.log = Path(tempfile.mkstemp(prefix="sidekick-worker-")[1])
        self.process = subprocess.Popen(
            [sys.executable, "-m", "django", "runworker", *words],
            env={**os.environ, "DJANGO_SETTINGS_MODULE": "tests.settings", "PYTHONPATH": str(ROOT), **environment},
            cwd=ROOT,
            stdout=subprocess.DEVNULL,
            stderr=self.log.open("w"),
            start_new_session=True,
        )

    def output(self) -> str:
        return self.log.read_text()

    def send(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait(30)

    def wait(self, timeout_s: float = 30.0) -> int:
        return self.process.wait(timeout_s)

    def away(self) -> list[float]:
        """Return when it has warned that Redis is away, epoch seconds."""
        return [seconds(stamp) for stamp in re.findall(r"^(\S+Z) WARNING .* is away \(", self.output(), re.MULTILINE)]

    def close(self) -> None:
        """End it with all its children: an orphan would go on in the server that the next test finds empty."""
        if self.process.poll() is None:
            self.kill()
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        wait_until(lambda: not living_in_group(self.process.pid), "the end of its children")
        self.last_output = self.output()
        self.log.unlink(missing_ok=True)

    def wait_for(self, text: str, timeout_s: float = 15.0) -> None:
        wait_until(lambda: text in self.output() or self.process.poll() is not None, text, timeout_s)
        assert text in self.output(), self.output()


def living_in_group(number: int) -> list[int]:
    """Return the processes of a group, without zombies: who has to reap them is not said."""
    living = []
    for pid in (int(folder.name) for folder in Path("/proc").glob("[0-9]*")):
        with contextlib.suppress(ProcessLookupError):
            if os.getpgid(pid) == number and is_alive(pid):
                living.append(pid)
    return living


def seconds(stamp: str) -> float:
    return datetime.fromisoformat(stamp).timestamp()


def shorten_leases(redis: Any) -> None:
    """What 15 s would do: Redis' own clock decides, so the lease's end is moved, not the clock."""
    for owner in redis.zrange("sk:owners", 0, -1):
        redis.zadd("sk:owners", {owner: 1}, xx=True)


@contextlib.contextmanager
def worker_process(*words: str, **environment: str) -> Iterator[WorkerProcess]:
    worker = WorkerProcess(*words, **environment)
    try:
        yield worker
    finally:
        worker.close()
