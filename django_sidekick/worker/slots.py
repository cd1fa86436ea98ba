"""What runs in one process now: a slot for each thread, then one for each coroutine."""

from __future__ import annotations

from collections.abc import Callable

from django_sidekick.wire.outcome import Awaiting, Delivery, Outcome
from django_sidekick.worker.journal import Journal
from django_sidekick.worker.options import Sizes


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
        """Make begin, end, pass_on and follow, which share where they write: an attribute would cost each job its look-up."""
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

        def follow() -> None:
            """Write where the journal is now: its file was lost."""
            nonlocal tags, since, mark_finished
            tags, since, mark_finished = journal.tags, journal.since, journal.mark_finished

        self.begin, self.end, self.pass_on, self.follow = begin, end, pass_on, follow
