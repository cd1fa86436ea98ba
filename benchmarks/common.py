"""What the measures have in common: clocks, a full queue, a worker beside us, a board that jobs write on."""

from __future__ import annotations

import contextlib
import json
import mmap
import os
import resource
import signal
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
JOB = {
    "retry": True, "queue": "default", "args": ["hello", 12345, {"a": 1}], "class": "benchmarks.jobs.Noop",
    "jid": "b4a577edbccf1d805744efa9", "created_at": 1732332345123, "enqueued_at": 1732332345124,
}  # fmt: skip
DEADLINE_S = float(os.environ.get("BENCH_DEADLINE", "60"))


def raw_job(**fields: Any) -> bytes:
    return json.dumps({**JOB, **fields}, separators=(",", ":")).encode()


def redis_client() -> Any:
    from django_sidekick.broker.broker import get_broker

    return get_broker().client


def fill(count: int, queues: Sequence[str] = ("default",), raw: bytes | None = None) -> None:
    """Empty the server; lay `count` equal jobs into the queues, the same number in each."""
    client = redis_client()
    client.flushall()
    raws = [raw or raw_job()] * 1000
    for queue in queues:
        for _ in range(0, count // len(queues), len(raws)):
            client.lpush(f"queue:{queue}", *raws)


def cpu_s() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def timed(count: int, run: Callable[[], object]) -> dict[str, float]:
    """Jobs a second of the wall clock, and this process' CPU microseconds a job."""
    cpu, began = cpu_s(), time.perf_counter()
    run()
    took = time.perf_counter() - began
    return {"per_s": count / took, "cpu_us": (cpu_s() - cpu) / count * 1e6}


def quantile(values: list[float], share: float) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))]


def until(condition: Callable[[], Any], what: str, pause_s: float = 0.002) -> None:
    deadline = time.monotonic() + DEADLINE_S
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(what)
        time.sleep(pause_s)


class Board:
    """A file of 8-byte places, one a job, in which each job writes its moment: time.monotonic()."""

    def __init__(self, path: str, places: int = 0) -> None:
        self.path = path
        if places:
            Path(path).write_bytes(bytes(places * 8))
        with Path(path).open("r+b") as file:
            self._map = mmap.mmap(file.fileno(), 0)

    def write(self, place: int, moment: float) -> None:
        struct.pack_into("<d", self._map, place * 8, moment)

    def read(self) -> list[float]:
        return [moment for (moment,) in struct.iter_unpack("<d", self._map[:])]

    def is_full(self) -> bool:
        return all(self.read())


@contextlib.contextmanager
def beside(*words: str, **environment: str) -> Iterator[subprocess.Popen[bytes]]:
    """Run `python words…` in a process group of its own; end it with TERM, then with KILL."""
    process = subprocess.Popen(
        [sys.executable, *words], cwd=ROOT, env={**os.environ, **environment},
        start_new_session=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(20)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


@contextlib.contextmanager
def worker(*words: str, members: int = 1, **environment: str) -> Iterator[subprocess.Popen[bytes]]:
    """Run `runworker words…` and wait until so many of its processes wait for jobs."""
    client = redis_client()
    with beside("-m", "django", "runworker", *words, **environment) as process:
        until(lambda: client.scard("processes") == members, "the workers' first beat")
        until(lambda: _blocked(client) >= members, "the workers to wait")
        yield process


def _blocked(client: Any) -> int:
    return int(client.info("clients")["blocked_clients"])
