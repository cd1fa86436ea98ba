"""The worker's heart: threads take turns to lead, one fetching for all while the others run what is there.

What a kill loses at each line, and who brings it back, stands in docs/guarantees.md.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress

from django_sidekick.broker.ownership import Ownership
from django_sidekick.broker.patience import never
from django_sidekick.exceptions import BrokerUnavailable, Fenced, Shutdown
from django_sidekick.jobs.current import current_job
from django_sidekick.jobs.execute import Executor
from django_sidekick.jobs.mirrored import EventsOf
from django_sidekick.wire.outcome import Awaiting, Delivery, Outcome
from django_sidekick.worker.eventloop import EventLoop
from django_sidekick.worker.finished import Finished
from django_sidekick.worker.handover import Handover
from django_sidekick.worker.journal import Journal, path_of
from django_sidekick.worker.openqueues import OpenQueues
from django_sidekick.worker.options import Sizes
from django_sidekick.worker.prefetch import Prefetch
from django_sidekick.worker.slots import Slots
from django_sidekick.worker.standby import Standby
from django_sidekick.worker.tally import Tally
from django_sidekick.worker.threads import take_all

logger = logging.getLogger("sidekick")


class Intake:
    """The buffer of one process, filled by whichever thread leads, emptied by all.

    A thread that finds the buffer empty leads, or stands by while another does; the leader's one call settles
    what all threads have finished and takes what is next. Before a thread begins a job it calls another, unless
    one is on its way: so somebody always looks after the buffer. Lists that threads share are only ever
    appended to and popped.
    """

    def __init__(
        self,
        ownership: Ownership,
        executor: Executor,
        next_order: Callable[[], Sequence[int]],
        journal: Journal,
        sizes: Sizes,
        events_of: EventsOf | None = None,
    ) -> None:
        self.ownership = ownership
        self.journal = journal
        self.buffer: deque[Delivery] = deque()
        self.finished = Finished()
        self.slots = Slots(sizes, journal, self.finished.append)
        self.tally = Tally()
        self.quiet = False
        self.waiting = False
        self.settled_at = 0.0
        self.on_ahead: Callable[[], object] = never  # called when more is fetched than free threads can begin
        read, finish = executor.build_read(), executor.build_finish()
        self.loop = EventLoop(read, finish, self.slots, lambda: self.ownership.wait.nudge(), self._misjudged)
        self._execute = executor.build_execute(awaits=bool(sizes.coroutines))
        self._order = OpenQueues(next_order, self.loop)
        self._handover = Handover(self.buffer, self.slots, self.loop, self._order)
        self._events_of = events_of
        self._standby = Standby(sizes.threads)
        self._leading, self._settling, self._receiving = (threading.Lock() for _ in range(3))
        self._abandoned: set[int] = set()
        self._fetched = 0
        self._prefetch = Prefetch()

    def run(self, slot: int) -> None:
        """Be one of the threads, until quiet and nothing is left for it. Never raise.

        The journal says first what begins, then what has finished; only then the outcome is handed over.
        """
        buffer, prefetch, clock = self.buffer, self._prefetch, time.perf_counter
        take, execute, begin, end = buffer.popleft, self._execute, self.slots.begin, self.slots.end
        standby, idle, handover = self._standby, self._standby.idle, self._handover
        while True:
            if len(buffer) <= prefetch.low_water > 0:
                self._refill_ahead()
            try:
                delivery = take()
            except IndexError:
                if self._refill(slot):
                    continue
                return
            if (sign := handover.sign) and sign in delivery[2]:
                handover.pass_alike(slot, delivery, sign)
                continue
            if idle and not standby.one_is_coming:
                standby.call_one()
            began = clock()
            begin(slot, delivery, began)
            try:
                outcome = execute(delivery, began)
            except Shutdown:
                outcome = Outcome("released", delivery)
            except BaseException:  # execute promises not to raise: held until this process ends
                logger.exception("A job could not be settled and stays in flight: %r", delivery)
                self.slots.leave(slot)
                continue
            if isinstance(outcome, Awaiting):
                handover.pass_on(slot, outcome)
            else:
                end(slot, outcome)

    @property
    def has_no_free_thread(self) -> bool:
        """Whether what has not begun waits for a job to end."""
        return self.slots.busy_threads >= self.slots.threads or bool(self.loop.waiting)

    @property
    def has_unstarted(self) -> bool:
        """Whether anything is held here that no thread and no loop has begun."""
        return bool(self.buffer or self.loop.waiting)

    @property
    def _free(self) -> int:
        """Number of threads for which nothing is here yet."""
        slots = self.slots
        return slots.threads - slots.busy_threads - len(self.buffer) - len(self.loop.waiting)

    @property
    def done(self) -> int:
        """Number of jobs finished since the process began, those that were given back aside."""
        return self._fetched - len(self.buffer) - self.slots.busy - len(self.loop.waiting)

    def is_idle(self) -> bool:
        """Tell whether this process holds nothing, and all that it has finished is settled."""
        return not (self.buffer or self.slots.busy or self.loop.waiting) and self.finished.is_settled()

    def settle(self) -> None:
        """Acknowledge what is finished, without fetching. For callers that do not lead."""
        with self._settling, self._outcomes(self._identity()) as finished:
            if finished:
                self.ownership.acknowledge(finished, self._events(finished))

    def give_back(self) -> int:
        """Return what no thread has begun to the front of its queue. Return the number of jobs."""
        unstarted = take_all(self.buffer)
        unstarted += self._order.close_for_slots(self.loop.take_back())
        if not unstarted:
            return 0
        self._prefetch.hold_back()
        with self._receiving:
            self._fetched -= len(unstarted)
        return self._return(unstarted)

    def push_back_running(self) -> list[Delivery]:
        """Return the jobs that still run, now back in their queues: what they do from now on counts for nothing."""
        running = [delivery for delivery in self.slots.running if delivery]
        ended = self.finished.tags()  # asked last: these are settled
        running = [delivery for delivery in running if delivery.tag not in ended]
        self._abandoned |= {delivery.tag for delivery in running}
        return running if self._return(running) else []

    def start_over(self, identity: str) -> None:
        """Go on under a new identity: recovery has taken the jobs of this one. The buffer is dropped."""
        with self._receiving:
            if identity != self.ownership.identity:
                return
            logger.warning(
                "The lease of %s ran out and its jobs were taken over; those still running here count for nothing.",
                identity,
            )
            self._fetched -= len(take_all(self.buffer)) + len(self.loop.take_back())
            self.ownership.start_over()
            self.journal.move_to(path_of(self.journal.path.parent, self.ownership.identity))
            self.slots.follow()

    def fetch_little_after(self, jobs: int) -> None:
        """Once so many are finished, take only what free threads can begin."""
        self._prefetch.stop_after(jobs)

    def stop_fetching(self) -> None:
        """Begin the quiet: no thread takes anything new from Redis. Idle threads end soon."""
        self.quiet = True
        self._standby.call_all()

    def _return(self, deliveries: list[Delivery]) -> int:
        with self._settling:
            identity = self.ownership.identity
            try:
                return self.ownership.give_back(deliveries) if deliveries else 0
            except Fenced:
                self.start_over(identity)
                return 0

    def _refill(self, slot: int) -> bool:
        """Fill the buffer, or stand by while another does. Return False when nothing will come any more."""
        current_job.set(None)
        if self.waiting and self.finished:
            with suppress(BrokerUnavailable):  # the process ends, and tries once more when it signs off
                self.settle()
        while not self.buffer:
            if self.quiet:
                return False
            if not self._leading.acquire(blocking=False):
                self._standby.wait(slot, self._is_needed)
                continue
            try:
                self._fetch_or_wait()
            except BrokerUnavailable:
                self.stop_fetching()
            finally:
                self._leading.release()
        return True

    def _is_needed(self) -> bool:
        return bool(self.buffer) or self.quiet or not self._leading.locked()

    def _refill_ahead(self) -> None:
        """Fetch while the other threads still have work, if nobody else does."""
        if self.quiet or not self._leading.acquire(blocking=False):
            return
        current_job.set(None)
        try:
            if len(self.buffer) <= self._prefetch.low_water:
                self._fetch()
        except BrokerUnavailable:
            self.stop_fetching()
        finally:
            self._leading.release()

    def _fetch_or_wait(self) -> None:
        if self._fetch():
            return
        self.waiting = True
        identity = self._identity()
        try:
            if self.finished:
                self.settle()
            if not self.quiet:
                woken = self.ownership.wait_for_work(self._order.next(), self._order.patience_s, identity)
                self._receive(woken, identity)
            if self.quiet:
                self.ownership.return_woken()
        except Fenced:
            self.start_over(identity)
        finally:
            self.waiting = False

    def _fetch(self) -> int:
        wanted, identity, deliveries = self._prefetch.wanted(self._free, self.done), self._identity(), []
        with self._outcomes(identity) as finished:
            self.settled_at = time.monotonic()
            deliveries = self.ownership.fetch(self._order.next(), wanted, finished, self._events(finished), identity)
        if deliveries:
            self._prefetch.weigh(deliveries)
            self._receive(deliveries, identity)
            if self._free < 0:
                self.on_ahead()
        return len(deliveries)

    @contextmanager
    def _outcomes(self, identity: str) -> Iterator[list[Outcome]]:
        """Take what is finished, to be settled by `identity`: it is counted then, or kept if Redis cannot be reached."""
        try:
            with self.finished.taken(self.ownership.oldest_tag, self._abandoned) as finished:
                yield finished
        except Fenced:
            self.start_over(identity)  # taken() will leave out those that are others' from now on
        else:
            self.tally.count(finished)

    def _receive(self, deliveries: list[Delivery], identity: str) -> None:
        """Put what Redis has given to `identity` into the buffer, if that is still us; while quiet, give it back."""
        with self._receiving:
            if identity != self.ownership.identity:
                return
            self._fetched += len(deliveries)
            self.buffer.extend(deliveries)
        if self.quiet:
            self.give_back()

    def _identity(self) -> str:
        """Return who we are, never in the middle of a change."""
        with self._receiving:
            return self.ownership.identity

    def _misjudged(self, raw: bytes) -> None:
        """What was brought to the loop is no coroutine job, and is released."""
        self._handover.unlearn(raw)
        with self._receiving:
            self._fetched -= 1

    def _events(self, finished: list[Outcome]) -> bytes:
        try:
            return self._events_of(self.ownership.identity, finished) if self._events_of and finished else b""
        except Exception:  # the jobs have ended; without the event the mirror has a gap, and nobody runs them again
            logger.exception("What became of %d jobs cannot be told to the history.", len(finished))
            return b""
