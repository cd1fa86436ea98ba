"""One event loop for all coroutine jobs of a process, beside its threads."""

from __future__ import annotations

import asyncio
import contextvars
import logging
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any

from django_sidekick.exceptions import Shutdown
from django_sidekick.jobs.execute import Finish, Read
from django_sidekick.wire.outcome import Awaiting, Delivery, Outcome
from django_sidekick.worker.slots import Slots
from django_sidekick.worker.threads import take_all

logger = logging.getLogger("sidekick")

IS_EAGER = sys.version_info >= (3, 12)
"""A task that begins at once, and costs no turn of the loop if it never waits."""

ROOM = 500
"""Jobs that wait for a slot before no more are wanted: more than threads bring in one turn at the GIL, for else they wait
in Redis once a turn."""


MakeTask = Callable[[Coroutine[Any, Any, Outcome]], "asyncio.Task[Outcome]"]


class EventLoop:
    """Runs at most so many jobs at once, one slot each; more wait in a room, from which they can be given back.

    It never touches Redis: threads bring the jobs and take the outcomes. Its thread starts with the first
    coroutine job, and goes on whatever a job does to the loop. Each job runs in a context of its own.
    Called in it: `on_room` when there is room again after there was none, `on_other` with the payload of a job that
    was brought unread and is none of coroutines; it is released.
    """

    def __init__(
        self, read: Read, finish: Finish, slots: Slots, on_room: Callable[[], None], on_other: Callable[[bytes], None]
    ) -> None:
        self.waiting: deque[Awaiting | Delivery] = deque()
        self._read = read
        self._finish = finish
        self._slots = slots
        self._begin = slots.begin
        self._free = deque(slots.of_coroutines)
        self._on_room = on_room
        self._on_other = on_other
        self._was_full = False
        self._is_called = False
        self._tasks: set[asyncio.Task[Outcome]] = set()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._starting = threading.Lock()
        self._task_of: MakeTask

    def submit(self, job: Awaiting | Delivery) -> None:
        """Have a job run when there is a slot. Called by threads, which never wait here."""
        self.waiting.append(job)
        self.call()

    def call(self) -> None:
        """Have it look at what waits."""
        if not self._is_called:  # lowered before the room is emptied, so that nothing stays in it
            loop = self._loop or self._start()  # first: a thread that cannot be started now can be later
            self._is_called = True
            loop.call_soon_threadsafe(self._take_in)

    @property
    def is_full(self) -> bool:
        """Whether so many jobs wait that no more should be brought."""
        if len(self.waiting) < ROOM:
            return False
        self._was_full = True
        return True

    @property
    def has_room(self) -> bool:
        """Whether more jobs may be brought, after the room was full."""
        return len(self.waiting) < ROOM // 2

    @property
    def has_free_slot(self) -> bool:
        """Whether a job that is brought now would begin at once."""
        return bool(self._free) and not self.waiting

    def take_back(self) -> list[Delivery]:
        """Return the jobs that have not begun; they will not."""
        return [job.delivery if isinstance(job, Awaiting) else job for job in take_all(self.waiting)]

    def cancel(self, timeout_s: float) -> None:
        """Cancel what runs, and wait so long for it to end. What comes of it counts for nothing any more."""
        if self._loop is None:
            return
        ended = threading.Event()

        def cancel_all() -> None:
            for task in self._tasks:
                task.cancel(Shutdown())
            self._end_when_idle(ended)

        self._loop.call_soon_threadsafe(cancel_all)
        if not ended.wait(timeout_s):
            logger.warning("%d coroutine jobs did not end when they were cancelled.", len(self._tasks))

    def _start(self) -> asyncio.AbstractEventLoop:
        with self._starting:
            if self._loop is None:
                loop = asyncio.new_event_loop()
                thread = threading.Thread(target=self._run, args=(loop,), name="sidekick-loop", daemon=True)
                thread.start()
                self._task_of = _task_maker(loop)
                self._loop = loop
            return self._loop

    def _run(self, loop: asyncio.AbstractEventLoop) -> None:
        asyncio.set_event_loop(loop)
        while True:
            try:
                loop.run_forever()
            except BaseException:
                logger.exception("A task that a coroutine job has left behind raised; the loop goes on.")
            else:
                logger.warning("A coroutine job has stopped the event loop; it goes on.")

    def _take_in(self) -> None:
        self._is_called = False
        waiting, free, clock, begin = self.waiting, self._free, time.perf_counter, self._begin
        read, finish, task_of, end = self._read, self._finish, self._task_of, self._slots.end
        while free:
            try:
                job = waiting.popleft()
            except IndexError:
                break
            delivery = job.delivery if isinstance(job, Awaiting) else job
            slot, began = free.popleft(), clock()
            begin(slot, delivery, began)
            awaiting = job if isinstance(job, Awaiting) else read(delivery)
            if awaiting is None:
                self._release(slot, delivery)
                continue
            task = task_of(finish(awaiting, began))
            if task.done():
                free.append(slot)
                try:
                    end(slot, task.result())
                except BaseException:  # noqa: BLE001 whatever it is, the loop goes on
                    self._hold(slot)
            else:
                self._tasks.add(task)
                task.add_done_callback(partial(self._end_later, slot))
        if self._was_full and self.has_room:
            self._was_full = False
            self._on_room()

    def _end_later(self, slot: int, task: asyncio.Task[Outcome]) -> None:
        self._tasks.discard(task)
        self._free.append(slot)
        try:
            self._slots.end(slot, task.result())
        except BaseException:  # noqa: BLE001 whatever it is, the loop goes on
            self._hold(slot)
        if self.waiting:
            self._take_in()

    def _release(self, slot: int, delivery: Delivery) -> None:
        self._on_other(delivery.raw)
        self._slots.end(slot, Outcome("released", delivery))
        self._free.append(slot)

    def _hold(self, slot: int) -> None:
        """Leave a job held until this process ends: its task has raised, which finish promises not to do."""
        logger.exception("A coroutine job could not be settled and stays in flight.")
        self._slots.leave(slot)

    def _end_when_idle(self, ended: threading.Event) -> None:
        if not self._tasks or self._loop is None:
            ended.set()
            return
        self._loop.call_later(0.01, self._end_when_idle, ended)


def _task_maker(loop: asyncio.AbstractEventLoop) -> MakeTask:
    """Return what makes tasks, each in a context of its own."""
    task, context = asyncio.Task, contextvars.Context
    if IS_EAGER:
        return lambda coroutine: task(coroutine, loop=loop, context=context(), eager_start=True)  # type: ignore[call-arg]
    return lambda coroutine: task(coroutine, loop=loop, context=context())
