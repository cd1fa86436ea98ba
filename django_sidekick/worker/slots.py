"""What runs in one process now: a slot for each thread, then one for each coroutine."""

from __future__ import annotations

import os
import sys
import weakref
from collections.abc import Callable
from contextlib import suppress
from typing import NoReturn

from django_sidekick.wire.outcome import Awaiting, Delivery, Outcome
from django_sidekick.worker.journal import Journal
from django_sidekick.worker.options import Sizes

_ALL: weakref.WeakSet[Slots] = weakref.WeakSet()
"""Those of this process: fork() tells a module, and no object."""


class Slots:
    """Begin and end of each run, told to the journal before anybody else.

    A slot is written by one thread only: its own, or the event loop's.
    """

    def __init__(self, sizes: Sizes, journal: Journal, finish: Callable[[Outcome], None]) -> None:
        self.running: list[Delivery | None] = [None] * sum(sizes)
        self.threads = sizes.threads
        self.of_coroutines = range(sizes.threads, sum(sizes))
        self._journal = journal
        self._write(finish)
        _ALL.add(self)

    def leave(self, slot: int) -> None:
        """Say that the slot runs nothing any more, without an end of its job."""
        self._journal.tags[slot] = 0
        self.running[slot] = None

    @property
    def busy(self) -> int:
        """Number of jobs inside `perform`, in threads and on the loop."""
        return len(self.running) - self.running.count(None)

    @property
    def busy_threads(self) -> int:
        """Number of threads inside a job, or waiting for a place on the loop."""
        return self.threads - self.running[: self.threads].count(None)

    def _write(self, finish: Callable[[Outcome], None]) -> None:
        """Make begin, end and the others, which share where they write: an attribute would cost each job its look-up."""
        journal, running = self._journal, self.running
        tags, since, mark_finished = journal.tags, journal.since, journal.mark_finished

        def begin(slot: int, delivery: Delivery, began: float) -> None:
            """Say that the job runs from `began`, time.perf_counter()."""
            running[slot] = delivery
            since[slot] = began
            tags[slot] = delivery[0]

        def end(slot: int, outcome: Outcome) -> None:
            """Hand the outcome over; before, one with nothing more than its event is marked. Then free the slot.

            In this order a job whose end is here is never seen as running only.
            """
            if outcome[0] == "done" and not outcome[8]:
                mark_finished(outcome[1][0], outcome[3], outcome[4])
            elif outcome[0] == "discarded" and not outcome[8] and outcome[5] is None:
                mark_finished(-outcome[1][0], outcome[3], outcome[4])
            else:
                tags[slot] = 0
            finish(outcome)
            running[slot] = None

        def pass_on(slot: int, take: Callable[[Awaiting], None], awaiting: Awaiting) -> None:
            """Give the job, which has not begun after all, to somebody else; until he has it the slot is taken."""
            tags[slot] = 0
            try:
                take(awaiting)
            finally:
                running[slot] = None

        def follow(then: Callable[[Outcome], None] = finish) -> None:
            """Write where the journal is now: its file was lost. Hand outcomes over to `then`."""
            nonlocal tags, since, mark_finished, finish
            tags, since, mark_finished, finish = journal.tags, journal.since, journal.mark_finished, then

        self.begin, self.end, self.pass_on, self.follow = begin, end, pass_on, follow

    def end_with_the_job(self) -> None:
        """Be a copy of the process that a job has forked: journal and connections are the other's, only the job's end is ours."""
        self._journal.leave_file()
        self.follow(_end_process)


def _end_process(outcome: Outcome) -> NoReturn:
    """End as a program would in which this was all: nothing is settled, and no hook at an exit runs twice."""
    error = outcome.error
    code = 0 if error is None else 1
    if isinstance(error, SystemExit) and (error.code is None or isinstance(error.code, int)):
        code = error.code or 0
    with suppress(OSError, ValueError):
        sys.stdout.flush()
        sys.stderr.flush()
    os._exit(code & 0xFF)


def _end_copies_with_their_job() -> None:
    for slots in _ALL:
        slots.end_with_the_job()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_end_copies_with_their_job)
