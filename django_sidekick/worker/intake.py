"""The worker's heart: threads take turns to lead, one fetching for all while the others run what is there.

What a kill loses at each line, and who brings it back, stands in docs/guarantees.md.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence

from django_sidekick.broker.ownership import Ownership
from django_sidekick.exceptions import BrokerUnavailable, Fenced, Shutdown
from django_sidekick.jobs.execute import Executor
from django_sidekick.wire.outcome import Awaiting, Delivery, Outcome
from django_sidekick.worker.eventloop import EventLoop
from django_sidekick.worker.journal import Journal, path_of
from django_sidekick.worker.options import Sizes
from django_sidekick.worker.prefetch import Prefetch
from django_sidekick.worker.tally import Tally
from django_sidekick.worker.threads import take_all

logger = logging.getLogger("sidekick")


class Intake:
    """The buffer of one process, filled by whichever thread leads, emptied by all.

    A thread that finds the buffer empty waits for the lead; the leader's one call settles what all threads
    have finished and takes what is next. Lists that threads share are only ever appended to and popped.
    """

    def __init__(
        self,
        ownership: Ownership,
        executor: Executor,
        next_order: Callable[[], Sequence[int]],
        journal: Journal,
        sizes: Sizes,
        events_of: Callable[[Sequence[Outcome]], bytes] | None = None,
    ) -> None:
        self.ownership = ownership
        self.journal = journal
        self.buffer: deque[Delivery] = deque()
        self.finished: deque[Outcome] = deque()
        self.running: list[Delivery | None] = [None] * (sizes.threads + sizes.coroutines)
        self.tallies = [Tally() for _ in range(sizes.threads + 1)]
        self.quiet = False
        self.waiting = False
        self.settled_at = 0.0
        slots = range(sizes.threads, sizes.threads + sizes.coroutines)
        self.loop = EventLoop(executor.finish(), slots, *self._loop_hooks())
        self._threads = sizes.threads
        self._execute = executor.execute(awaits=bool(slots))
        self._next_order = next_order
        self._events_of = events_of
        self._leading = threading.Lock()
        self._settling = threading.Lock()
        self._starting_over = threading.Lock()
        self._taking = threading.Lock()
        self._abandoned: set[int] = set()
        self._fetched = 0
        self._prefetch = Prefetch()

    def run(self, slot: int) -> None:
        """Be one of the threads, until quiet and nothing is left for it. Never raise.

        The journal says first what begins, then what has finished; only then the outcome is handed over.
        """
        buffer, running, journal, prefetch = self.buffer, self.running, self.journal, self._prefetch
        tags, since, mark_finished = journal.tags, journal.since, journal.mark_finished
        take, finish, execute, clock = buffer.popleft, self.finished.append, self._execute, time.perf_counter
        count = self.tallies[slot].count
        while True:
            if len(buffer) <= prefetch.low_water > 0:
                self._refill_ahead()
            try:
                delivery = take()
            except IndexError:
                if self._refill():
                    continue
                return
            running[slot] = delivery
            since[slot] = began = clock()
            tags[slot] = delivery[0]
            try:
                outcome = execute(delivery, began)
            except Shutdown:
                outcome = Outcome("released", delivery)
            except BaseException:  # execute promises not to raise: held until this process ends
                logger.exception("A job could not be settled and stays in flight: %r", delivery)
                running[slot], tags[slot] = None, 0
                continue
            if outcome[0] == "done" and not outcome[8]:
                mark_finished(delivery[0], outcome[3], outcome[4])
            elif isinstance(outcome, Awaiting):
                tags[slot] = 0
                self.loop.submit(outcome)
                running[slot] = None
                continue
            else:
                tags[slot] = 0
            running[slot] = None
            finish(outcome)
            count(outcome)

    def _loop_hooks(self) -> tuple[Callable[[int, Awaiting], None], Callable[[int, Outcome], None]]:
        """Return what the loop calls when a coroutine job begins and ends: run() in two parts."""
        running, journal = self.running, self.journal
        tags, since, mark_finished = journal.tags, journal.since, journal.mark_finished
        finish, count = self.finished.append, self.tallies[-1].count

        def begin(slot: int, awaiting: Awaiting) -> None:
            running[slot] = delivery = awaiting[0]
            since[slot] = awaiting[4]
            tags[slot] = delivery[0]

        def end(slot: int, outcome: Outcome) -> None:
            if outcome[0] == "done" and not outcome[8]:
                mark_finished(outcome[1][0], outcome[3], outcome[4])
            else:
                tags[slot] = 0
            running[slot] = None
            finish(outcome)
            count(outcome)

        return begin, end

    @property
    def busy(self) -> int:
        """Number of jobs inside `perform`, in threads and on the loop."""
        return len(self.running) - self.running.count(None)

    @property
    def busy_threads(self) -> int:
        """Number of threads inside a job, or waiting for a place on the loop."""
        return self._threads - self.running[: self._threads].count(None)

    @property
    def has_no_free_thread(self) -> bool:
        """Whether what has not begun waits for a job to end."""
        return self.busy_threads >= self._threads or bool(self.loop.waiting)

    @property
    def has_unstarted(self) -> bool:
        """Whether anything is held here that no thread and no loop has begun."""
        return bool(self.buffer or self.loop.waiting)

    @property
    def _free(self) -> int:
        """Number of threads for which nothing is here yet."""
        return self._threads - self.busy_threads - len(self.buffer) - len(self.loop.waiting)

    @property
    def done(self) -> int:
        """Number of jobs finished since the process began, those that were given back aside."""
        return self._fetched - len(self.buffer) - self.busy - len(self.loop.waiting)

    def is_idle(self) -> bool:
        """Tell whether this process holds nothing."""
        return not (self.buffer or self.busy or self.finished or self.loop.waiting)

    def settle(self) -> None:
        """Acknowledge what is finished, without fetching. For callers that do not lead."""
        with self._settling:
            identity = self.ownership.identity
            if finished := self._take_finished():
                try:
                    self.ownership.acknowledge(finished, self._events(finished))
                except Fenced:
                    self.start_over(identity)

    def give_back(self) -> int:
        """Return what no thread has begun to the front of its queue. Return the number of jobs."""
        unstarted = take_all(self.buffer)
        unstarted += [awaiting.delivery for awaiting in self.loop.take_back()]
        if not unstarted:
            return 0
        self._prefetch.hold_back()
        self._fetched -= len(unstarted)
        return self._return(unstarted)

    def push_back_running(self) -> list[Delivery]:
        """Return the jobs that still run, now back in their queues: what they do from now on counts for nothing."""
        running = [delivery for delivery in self.running if delivery]
        self._abandoned |= {delivery.tag for delivery in running}
        return running if self._return(running) else []

    def start_over(self, identity: str) -> None:
        """Go on under a new identity: recovery has taken the jobs of this one. The buffer is dropped."""
        with self._starting_over:
            if identity != self.ownership.identity:
                return
            logger.warning(
                "The lease of %s ran out and its jobs were taken over; "
                "those still running here count for nothing.",
                identity,
            )
            self._fetched -= len(self.buffer)
            self.buffer.clear()
            self.ownership.start_over()
            self.journal.move_to(path_of(self.journal.path.parent, self.ownership.identity))

    def stop_fetching(self) -> None:
        """Begin the quiet: no thread takes anything new from Redis. Idle threads end soon."""
        self.quiet = True

    def _return(self, deliveries: list[Delivery]) -> int:
        with self._settling:
            identity = self.ownership.identity
            try:
                return self.ownership.give_back(deliveries) if deliveries else 0
            except Fenced:
                self.start_over(identity)
                return 0

    def _refill(self) -> bool:
        """Wait for the lead and fill the buffer. Return False when nothing will come any more."""
        if self.waiting and self.finished:
            self._settle_quietly()
        with self._leading:
            while not self.buffer:
                if self.quiet:
                    return False
                try:
                    self._fetch_or_wait()
                except BrokerUnavailable:
                    return False
        return True

    def _refill_ahead(self) -> None:
        """Fetch while the other threads still have work, if nobody else does."""
        if self.quiet or not self._leading.acquire(blocking=False):
            return
        try:
            if len(self.buffer) <= self._prefetch.low_water:
                self._fetch()
        except BrokerUnavailable:
            self._prefetch.low_water = 0
        finally:
            self._leading.release()

    def _fetch_or_wait(self) -> None:
        if self._fetch():
            return
        self.waiting = True
        try:
            if self.finished:
                self._settle_quietly()
            if not self.quiet:
                self.ownership.wait_for_work(self._next_order())
        finally:
            self.waiting = False
        if self.quiet:
            self.ownership.return_woken()

    def _fetch(self) -> int:
        wanted, identity = self._prefetch.wanted(self._free, self.done), self.ownership.identity
        finished = self._take_finished()
        self.settled_at = time.monotonic()
        try:
            deliveries = self.ownership.fetch(
                self._next_order(), wanted, finished, self._events(finished)
            )
        except Fenced:
            self.start_over(identity)
            return 0
        if deliveries:
            self._prefetch.weigh(deliveries)
            self._fetched += len(deliveries)
            self.buffer.extend(deliveries)
        return len(deliveries)

    def _take_finished(self) -> list[Outcome]:
        """Take what is finished, without the jobs that are others' now: fenced off, or pushed back."""
        take = self.finished.popleft
        with self._taking:  # else two of us would run into each other's end and lose what they hold
            finished = [take() for _ in range(len(self.finished))]
        oldest, abandoned = self.ownership.oldest_tag, self._abandoned
        if not oldest and not abandoned:
            return finished
        return [
            outcome
            for outcome in finished
            if outcome.delivery.tag >= oldest and outcome.delivery.tag not in abandoned
        ]

    def _settle_quietly(self) -> None:
        try:
            self.settle()
        except BrokerUnavailable:
            logger.info("Finished jobs could not be acknowledged: they stay in flight and run again.")

    def _events(self, finished: list[Outcome]) -> bytes:
        return self._events_of(finished) if self._events_of and finished else b""
