"""One process that runs jobs: builds its actors, starts them, quiets and stops them."""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial

from django.dispatch import Signal

from django_sidekick import signals
from django_sidekick.broker.beats import ProcessBeat
from django_sidekick.broker.ownership import Ownership
from django_sidekick.broker.patience import Absence, Patience, never
from django_sidekick.exceptions import BrokerUnavailable
from django_sidekick.jobs.execute import Executor
from django_sidekick.jobs.mirrored import EventsOf
from django_sidekick.worker import queueorder
from django_sidekick.worker.display import Display, ProcessInfo, resident_kib
from django_sidekick.worker.heartbeat import CountWriter, Heartbeat
from django_sidekick.worker.intake import Intake
from django_sidekick.worker.joblog import JobLog
from django_sidekick.worker.journal import Journal, path_of
from django_sidekick.worker.keeper import Keeper
from django_sidekick.worker.link import Link
from django_sidekick.worker.listeners import announce
from django_sidekick.worker.options import WorkerOptions
from django_sidekick.worker.prefetch import LARGEST_BATCH
from django_sidekick.worker.recovery import Lease
from django_sidekick.worker.service import Actor, Service
from django_sidekick.worker.stacks import dump_stacks
from django_sidekick.worker.threads import Ticker, Wake, within

logger = logging.getLogger("sidekick")

AWAY_AT_THE_END_S = 3.0
SIGN_OFF_S = 10.0
"""As long as a supervisor waits behind SHUTDOWN_TIMEOUT before it kills."""

CALL_OFF_EVERY_S = 0.05
COUNT_EVERY_S = 0.02
LOOK_EVERY_S = 1.0


class Child:
    """All actors of one process. Signal handlers only set flags here; `run` is the main thread's loop.

    With a `link` it has a supervisor, which renews its lease too, shows it, and recovers it; it drains when the
    link breaks, for then the supervisor is dead. Without one it shows itself, and does a service's work, with `actors`.
    """

    def __init__(
        self,
        options: WorkerOptions,
        executor: Executor,
        job_log: JobLog | None = None,
        events_of: EventsOf | None = None,
        link: Link | None = None,
        actors: Callable[[], Sequence[Actor]] = tuple,
    ) -> None:
        self.options = options
        self.ownership = Ownership(options.settings, [name for name, _ in options.queues])
        order = queueorder.next_order_of(options.queues)
        self.intake = Intake(self.ownership, executor, order, self._journal(), options.sizes, events_of)
        self.link = link
        self.ownership.on_new_identity = partial(self._tell, "identity")
        self.service = None if link else Service(options.settings, events_of, actors())
        self._job_log = job_log
        self._woken = Wake(link)
        self._counts_jobs = False
        if link and options.settings.child_max_jobs is not None:
            self._counts_jobs = True
            self.intake.fetch_little_after(options.settings.child_max_jobs)
        self._quiet_asked = False
        self._is_quiet = False
        self._stop_asked = False
        self._workers = [
            threading.Thread(target=self._work, args=(slot,), name=f"sidekick-job-{slot}", daemon=True)
            for slot in range(options.concurrency)
        ]
        self._build_actors()

    def _journal(self) -> Journal:
        own, slots = self.ownership, sum(self.options.sizes)
        window = 2 * LARGEST_BATCH + slots + 100 * len(own.queues)
        return Journal(path_of(self.options.settings.runtime_dir, own.identity), slots, window)

    def _build_actors(self) -> None:
        own, options = self.ownership, self.options
        info = ProcessInfo(options.queues, options.concurrency, options.tag, options.labels, time.time())
        self._counts = CountWriter(own, self.intake)
        self._beats = ProcessBeat(own.client, own.keys)
        display = Display(self._beats, info)
        self.heartbeat = Heartbeat(own, self.intake, display, self.ask_by_name)
        self._beat = Ticker("heartbeat", self.heartbeat.turn)
        self._lease = Ticker("lease", Lease(own, self.intake).turn)
        self._tickers = [self._lease, Keeper(self.intake).ticker, Ticker("counts", self._counts.turn)]
        if self._job_log:
            self._tickers.append(Ticker("log", self._job_log.turn))
        if not self.link:
            self._tickers.append(self._beat)

    def start(self) -> None:
        """Register in Redis, however long it takes to answer, tell the listeners, then start all threads.

        No job begins before the listeners of worker_started have returned.
        """
        self._tell("identity", self.ownership.identity)
        patience, link = self.ownership.patience, self.link
        if link:
            patience.is_pointless = lambda: link.is_broken
        try:
            self.ownership.register()
        except BrokerUnavailable:  # asked to stop, or left by the supervisor, while Redis was away
            return
        patience.is_pointless = never
        for ticker in self._tickers:
            ticker.start()
        if self.service:
            self.service.start()
        self._announce(signals.worker_started)
        self._tell("ready", str(resident_kib(os.getpid())))
        if self._quiet_asked:
            self.intake.stop_fetching()
        for worker in self._workers:
            worker.start()

    def ask_quiet(self) -> None:
        """Ask for the quiet: begun jobs go on, nothing new begins. Safe in a signal handler."""
        self._quiet_asked = True
        self._woken.set()

    def ask_stop(self) -> None:
        """Ask for the end: quiet, drain until the time-out, push back. Safe in a signal handler."""
        self._stop_asked = True
        away_s = self.options.shutdown_timeout_s if self.intake.slots.busy else AWAY_AT_THE_END_S
        for patience in self._patiences():
            patience.give_up(away_s)
        self._woken.set()

    @property
    def is_quiet(self) -> bool:
        """Whether the quiet was asked for."""
        return self._quiet_asked

    @property
    def is_asked_to_stop(self) -> bool:
        """Whether the end was asked for, by a signal, a button, or the supervisor's death."""
        return self._stop_asked

    def ask_by_name(self, name: str) -> None:
        """Do what a dashboard's button says: TSTP, TERM or TTIN."""
        actions = {"TSTP": self.ask_quiet, "TERM": self.ask_stop, "TTIN": dump_stacks}
        if action := actions.get(name):
            action()

    def run(self, is_done: Callable[[], bool] = lambda: False) -> None:
        """Work until asked to stop, or until `is_done` says so (asked a few times a second)."""
        self.start()
        while not self._stop_asked:
            if self._quiet_asked and not self._is_quiet:
                self.quiet()
                self._beat.wake()
            if is_done():
                break
            is_leaving = self.intake.quiet and self.intake.waiting
            if is_leaving:
                self._call_off()
            self._look_around()
            self._woken.wait(self._pause_s(is_leaving))
        self.stop()

    def _pause_s(self, is_leaving: bool) -> float:
        if self._counts_jobs:
            return COUNT_EVERY_S
        return CALL_OFF_EVERY_S if self.options.drain or is_leaving else LOOK_EVERY_S

    def quiet(self) -> None:
        """Take nothing new; what no thread has begun goes back to its queue at once."""
        self.intake.stop_fetching()
        self._tell("quiet")
        self._call_off()
        if self.service:
            self.service.stop_scheduling()
        try:
            within(AWAY_AT_THE_END_S, self.intake.give_back)
        except BrokerUnavailable:
            logger.info("What was fetched ahead could not be given back: it stays in flight until it is recovered.")
        if not self._is_quiet:
            self._is_quiet = True
            self._announce(signals.worker_quiet)

    def stop(self) -> None:
        """Drain until SHUTDOWN_TIMEOUT, push back what still runs, settle, sign off. Idempotent for Redis."""
        deadline = time.monotonic() + self.options.shutdown_timeout_s
        logger.info("Stopping: %d jobs are running.", self.intake.slots.busy)
        self.quiet()
        self._drain(deadline)
        for patience in self._patiences():
            patience.give_up()
        try:
            within(SIGN_OFF_S, self._sign_off)
        except BrokerUnavailable:
            logger.info("Could not sign off: what was in flight is recovered after the lease.")
        for ticker in self._tickers:
            ticker.stop()
        if self.service:
            with suppress(BrokerUnavailable):
                within(SIGN_OFF_S, self.service.stop)
        if self._job_log:
            self._job_log.flush()
        self._announce(signals.worker_stopped)

    def _look_around(self) -> None:
        """Tell the supervisor what it cannot see; if it is dead, drain."""
        if not self.link:
            return
        if self.link.is_broken:
            logger.warning("The supervisor is gone: draining.")
            Absence.is_told_by_supervisor = False
            self.ask_stop()
            return
        self._tell("identity", self.ownership.identity)
        most = self.options.settings.child_max_jobs
        if self._counts_jobs and most is not None and self.intake.done >= most:
            self._counts_jobs = False
            self._tell("replace")

    def _tell(self, what: str, value: str = "") -> None:
        if self.link:
            self.link.tell(what, value)

    def _announce(self, signal: Signal) -> None:
        announce(signal, type(self), self.ownership.identity)

    def _drain(self, deadline: float) -> None:
        ran_at = time.monotonic()
        while (runs := self.intake.slots.busy or self.intake.has_unstarted) or any(
            map(threading.Thread.is_alive, self._workers)
        ):
            now = time.monotonic()
            ran_at = now if runs else ran_at
            if now >= min(deadline, ran_at + AWAY_AT_THE_END_S):  # threads that run nothing wait for Redis
                break
            self._call_off()
            for worker in self._workers:
                worker.join(CALL_OFF_EVERY_S / len(self._workers))
            if self.intake.slots.busy:
                time.sleep(CALL_OFF_EVERY_S / 10)

    def _sign_off(self) -> None:
        self.intake.give_back()
        pushed_back = self.intake.push_back_running()
        if pushed_back:
            logger.warning(
                "%d jobs did not end within %.0f s: pushed back, they will run again.",
                len(pushed_back),
                self.options.shutdown_timeout_s,
            )
            self.intake.tally.count_interrupted(pushed_back)
        self.intake.settle()
        self._counts.write()
        if pushed_back:
            self.intake.loop.cancel(AWAY_AT_THE_END_S)  # after the counts: they have these runs already
        if self.link:
            self.ownership.patience.call(lambda: self._beats.leave(self.ownership.identity))
        else:
            self.heartbeat.leave()
        self._lease.stop()
        self._lease.join(AWAY_AT_THE_END_S)  # a renewal after the end would find a fence, and begin anew
        self.ownership.wait.close()
        self.ownership.leave()
        self.intake.journal.remove()

    def _work(self, slot: int) -> None:
        """Be a thread of the intake; an error that leaves it is ours, and does not end the thread."""
        while True:
            try:
                return self.intake.run(slot)
            except Exception:
                logger.exception("A thread of the intake failed; it goes on.")
                time.sleep(1.0)

    def _call_off(self) -> None:
        try:
            self.ownership.wait.call_off()
        except Exception:  # only a hint: the wait ends by itself within 2 s
            logger.debug("The wait could not be called off.", exc_info=True)

    def _patiences(self) -> list[Patience]:
        own = self.ownership.patience
        return [own, *self.service.patiences] if self.service else [own]
