"""What the soak runs: jobs of every kind of end, and the load that never stops enqueuing them."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import threading
import time
from collections import Counter
from typing import Any

from django.apps import AppConfig
from django.conf import settings
from django.core.management import call_command
from django.db import connection, transaction

from benchmarks.jobs import Noop
from django_sidekick import BaseJob, EnqueuedJob, Retry

BEAT_S = 0.1
ROWS = 16


class Soak(AppConfig):
    """The app that brings these jobs: to load its configuration is to import them."""

    name = "benchmarks"


class Pause(BaseJob):
    def perform(self, ms: int) -> None:
        time.sleep(ms / 1000)


class AsyncPause(BaseJob):
    async def perform(self, ms: int) -> None:
        await asyncio.sleep(ms / 1000)


class Row(BaseJob):
    def perform(self, number: int) -> None:
        with connection.cursor() as cursor:
            cursor.execute("UPDATE soak_row SET hits = hits + 1 WHERE id = %s", [number % ROWS])


class Parent(BaseJob):
    """Enqueue another job, when the transaction commits."""

    def perform(self, number: int) -> None:
        with transaction.atomic():
            Row.perform_later(number)


class Flaky(BaseJob):
    """Fail twice, then be done."""

    def perform(self) -> None:
        if self.attempt < 3:
            raise Retry(wait=random.uniform(0.05, 1.0))


class Doomed(BaseJob):
    """Fail twice, then be dead: the dead set is cut with each."""

    retry = 1
    queue_as = "low"

    def perform(self) -> None:
        raise Retry(wait=0.2)


class Killer(BaseJob):
    """Kill the process in the first run; the second is a good one."""

    def perform(self, number: int) -> None:
        try:
            with (settings.FOLDER / f"killed-{number}").open("x") as marker:
                marker.write(str(os.getpid()))
        except FileExistsError:
            return
        os.kill(os.getpid(), signal.SIGKILL)


class Poison(BaseJob):
    """Kill the process in every run: it is dead after the third, whatever ran beside it."""

    def perform(self) -> None:
        (settings.FOLDER / f"killed-{os.getpid()}p").write_text(str(os.getpid()))
        os.kill(os.getpid(), signal.SIGKILL)


def make_tables() -> None:
    """The history's, into which the recorder writes, and one of the jobs' own."""
    call_command("migrate", verbosity=0)
    with connection.cursor() as cursor:
        cursor.execute("CREATE TABLE soak_row (id integer PRIMARY KEY, hits bigint NOT NULL)")
        for number in range(ROWS):
            cursor.execute("INSERT INTO soak_row VALUES (%s, 0)", [number])


class Load(threading.Thread):
    """Enqueues some 30 jobs every 100 ms until told to stop; about 400 runs a second come of them."""

    def __init__(self, killer_every_s: float, poison_every_s: float) -> None:
        super().__init__(name="load", daemon=True)
        self.enqueued: Counter[str] = Counter()
        self.unheard = 0
        """Handles of scheduled jobs that could not be cancelled or rescheduled: none is expected."""

        self._kills = [(Killer, killer_every_s, killer_every_s / 2), (Poison, poison_every_s, poison_every_s / 3)]
        self._handles: list[EnqueuedJob] = []
        self._stopping = threading.Event()

    def run(self) -> None:
        """Keep the beat. A beat that comes late is not made up for."""
        began = time.monotonic()
        beat = 0
        while not self._stopping.wait(max(0.0, began + beat * BEAT_S - time.monotonic())):
            beat = int((time.monotonic() - began) / BEAT_S) + 1
            self._steady(beat)
            if beat % 10 == 0:
                self._change_minds()
            self._kill(time.monotonic() - began)

    def stop(self) -> None:
        self._stopping.set()
        self.join(10)
        self._change_minds()

    def _steady(self, beat: int) -> None:
        self.enqueued["Noop"] += len(Noop.perform_bulk([(n,) for n in range(20)]))
        self.enqueued["Pause"] += len(Pause.perform_bulk([(random.randint(5, 50),) for _ in range(4)]))
        for _ in range(3):
            self._count(AsyncPause.perform_later(random.randint(5, 50)), "AsyncPause")
        for job, values in ((Row, (beat,)), (Parent, (beat,)), (Flaky, ()), (Doomed, ())):
            self._count(job.perform_later(*values), job.__name__)
        self._count(Pause.set(wait=random.uniform(0.1, 3), queue="low").perform_later(5), "scheduled")

    def _change_minds(self) -> None:
        """Cancel one half of what was put far into the schedule, reschedule the other; then put more there."""
        for number, handle in enumerate(self._handles):
            heard = handle.cancel() if number % 2 else handle.reschedule(wait=0.5)
            self.unheard += not heard
            self.enqueued["cancelled" if number % 2 else "rescheduled"] += 1
        self._handles = []
        if not self._stopping.is_set():
            self._handles = [Noop.set(wait=300).perform_later(n) for n in range(6)]
            for _ in range(3):
                self._count(Noop.set(wait=0.5, expires_in=0.0001).perform_later(0), "expired")

    def _kill(self, now_s: float) -> None:
        for index, (job, every_s, due_s) in enumerate(self._kills):
            if now_s >= due_s:
                self._kills[index] = (job, every_s, due_s + every_s)
                values: tuple[Any, ...] = (int(now_s),) if job is Killer else ()
                self._count(job.perform_later(*values), job.__name__)

    def _count(self, handle: EnqueuedJob, name: str) -> None:
        self.enqueued[name if handle.enqueued else f"{name} refused"] += 1
