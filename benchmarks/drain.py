"""How fast a full queue is emptied, beside three floors.

A  decode, look up, make the object, call: no Redis.
B  fetch and acknowledge only, in batches of 250, nothing decoded, one client.
C  A and B in one thread, one after the other: the limit of one Python process.
D  the worker: 10 threads, reliable fetch, all duties of a default configuration; job lines off.
E  D with an event for each job.   L  D with start and done lines.   Q  D with three queues.
G  D with coroutine jobs, at most 100 at once.   P  `runworker -p 1` and `-p 2`, from outside.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from benchmarks.common import JOB, fill, raw_job, redis_client, timed, until, worker
from benchmarks.jobs import Noop
from django_sidekick.broker.ownership import Ownership
from django_sidekick.conf import get_settings
from django_sidekick.feature import load_features
from django_sidekick.jobs import mirrored
from django_sidekick.jobs.execute import Executor
from django_sidekick.jobs.mirrored import EventsOf
from django_sidekick.jobs.registry import JOBS
from django_sidekick.wire import codec
from django_sidekick.wire.outcome import Outcome
from django_sidekick.worker import collector
from django_sidekick.worker.child import Child
from django_sidekick.worker.joblog import JobLog
from django_sidekick.worker.options import WorkerOptions

BATCH = 250
Figures = dict[str, float]


def floor_a(count: int) -> Figures:
    raw, loads, classes = raw_job(), codec.loads, {JOB["class"]: Noop}

    def run() -> None:
        for _ in range(count):
            job = loads(raw)
            classes[job["class"]]().perform(*job["args"])

    return timed(count, run)


def floor_b(count: int) -> Figures:
    fill(count)
    own = _owned()

    def run() -> None:
        batch = own.fetch([0], BATCH, [])
        while batch:
            batch = own.fetch([0], BATCH, [Outcome("done", delivery) for delivery in batch])

    return timed(count, run)


def floor_c(count: int) -> Figures:
    fill(count)
    own, loads, classes = _owned(), codec.loads, {JOB["class"]: Noop}

    def run() -> None:
        batch = own.fetch([0], BATCH, [])
        while batch:
            for delivery in batch:
                job = loads(delivery.raw)
                classes[job["class"]]().perform(*job["args"])
            batch = own.fetch([0], BATCH, [Outcome("done", delivery) for delivery in batch])

    return timed(count, run)


def drain(count: int) -> Figures:
    fill(count)
    return _drained(count, ["default"])


def drain_with_events(count: int) -> Figures:
    fill(count)
    return _drained(count, ["default"], events_of=mirrored.events_of(replace(get_settings(), history="finished"), JOBS))


def drain_with_lines(count: int) -> Figures:
    fill(count)
    with Path(os.devnull).open("w") as stream:
        return _drained(count, ["default"], job_log=JobLog("text", stream))


def drain_three_queues(count: int) -> Figures:
    fill(count, ("a", "b", "c"))
    return _drained(count - count % 3000, ["a", "b", "c"])


def drain_coroutines(count: int) -> Figures:
    fill(count, raw=raw_job(**{"class": "benchmarks.jobs.AsyncNoop"}))
    return _drained(count, ["default"])


def processes(count: int) -> Figures:
    """Jobs a second of one process and of two, from the moment the jobs appear until nothing is in flight."""
    return {f"per_s_{number}": _drained_from_outside(count * 2, number) for number in (1, 2)}


def _owned() -> Ownership:
    own = Ownership(get_settings(), ["default"])
    own.register()
    return own


def _drained(
    count: int,
    queues: Sequence[str],
    *,
    events_of: EventsOf | None = None,
    job_log: JobLog | None = None,
) -> Figures:
    settings = get_settings()
    layers = (job_log.middleware,) if job_log else ()
    executor = Executor(settings, features=load_features(settings), layers=layers)
    options = WorkerOptions(settings, tuple((name, 0) for name in queues), 10, 25.0)
    collector.freeze()
    collector.relax()
    child = Child(options, executor, job_log, events_of)
    main = threading.Thread(target=child.run)

    def run() -> None:
        main.start()
        until(lambda: child.intake.done >= count, "the queue to be empty")

    figures = timed(count, run)
    child.ask_stop()
    main.join()
    return figures


def _drained_from_outside(count: int, number: int) -> float:
    client: Any = redis_client()
    fill(count)
    client.rename("queue:default", "stock")
    with worker("-p", str(number), "-c", "10", members=number):
        began = time.perf_counter()
        client.rename("stock", "queue:default")
        until(lambda: client.exists("queue:default") == 0, "the queue to be empty")
        until(lambda: not in_flight(client), "all to be settled")
        return count / (time.perf_counter() - began)


def in_flight(client: Any) -> int:
    """Jobs in flight: fields of the hashes that are numbers."""
    keys = client.keys("sk:inflight:*")
    return sum(name.isdigit() for key in keys for name in client.hkeys(key))
