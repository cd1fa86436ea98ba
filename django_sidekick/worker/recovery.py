"""Bringing back the jobs of processes that died, and keeping this one's lease."""

from __future__ import annotations

import contextlib
import logging
import os
import random
import time
from collections.abc import Callable, Collection
from functools import partial
from pathlib import Path
from typing import NamedTuple, TypeVar

from django_sidekick.broker.keys import Keys
from django_sidekick.broker.ownership import RENEW_EVERY_S, Ownership
from django_sidekick.broker.patience import REFUSALS, Patience
from django_sidekick.broker.recovery import OwnerRegister
from django_sidekick.conf import Settings
from django_sidekick.exceptions import BrokerUnavailable, Fenced
from django_sidekick.jobs.mirrored import EventsOf
from django_sidekick.wire.outcome import Delivery, Outcome, queue_index
from django_sidekick.worker import journal
from django_sidekick.worker.blame import Blame, with_event
from django_sidekick.worker.intake import Intake
from django_sidekick.worker.journal import Entries
from django_sidekick.worker.strays import Strays, payload_of

logger = logging.getLogger("sidekick")

LOOK_EVERY_S = 2.0
REST_S = 0.005
SILENCE_S = 5.0
GRACE_S = RENEW_EVERY_S + 1.5
WARN_EVERY_S = 5.0
OLD_JOURNAL_S = 1200.0
T = TypeVar("T")


class TakenOver(NamedTuple):
    """What came of one dead process: jobs returned, settled as finished, buried as its killers; if more is left."""

    returned: int
    settled: int
    buried: int
    more: bool


class TakeOver:
    """Brings back what one dead process held: first fence it, then settle what its journal names, then return.

    What the journal says was finished is acknowledged with its event. What was inside `perform` may have killed
    the process: the second time within 72 hours it is put apart, if its queue is `quarantined` here; the third time
    it goes to the dead set. All the rest runs again. Each step is one script that changes nothing the second time:
    two may do it at once, and either may die of it.
    """

    def __init__(
        self,
        owners: OwnerRegister,
        settings: Settings,
        events_of: EventsOf | None = None,
        quarantined: Collection[str] = (),
    ) -> None:
        self._owners = owners
        self._keys = Keys(settings.key_prefix)
        self._blame = Blame(owners, settings, events_of, quarantined)
        self._runtime_dir = settings.runtime_dir
        self._events_of = events_of
        self._read: set[str] = set()

    def slice(self, identity: str, *, certain: bool = False, blame: bool = True) -> TakenOver:
        """Bring back one slice; repeat while `more`. Raise redis-py's errors, after which a repeat is safe.

        Nothing happens while its lease runs, unless it is `certain` that it is dead. Without `blame` no job is
        held to have killed it.
        """
        settled = buried = 0
        queues = self._owners.fence(identity, certain=certain)
        path = journal.path_of(self._runtime_dir, identity)
        if queues is None:
            if certain:
                journal.remove_free(path)
            return TakenOver(0, 0, 0, more=False)
        if identity not in self._read and path.exists():
            entries = journal.read(path)
            settled = self._settle_finished(identity, queues, entries)
            if blame and (certain or not journal.is_held(path)):  # else it is stopped, not dead
                buried = self._judge(identity, queues, entries)
        self._read.add(identity)  # once, however many slices
        recovered = self._owners.recover(identity, certain=certain)
        if not recovered.more:
            self._read.discard(identity)
            journal.remove_free(path)
        return TakenOver(max(recovered.jobs, 0), settled, buried, recovered.more)

    def _settle_finished(self, identity: str, queues: list[str], entries: Entries) -> int:
        held = self._owners.held(identity, list(entries.finished))
        outcomes = []
        for tag, raw in held.items():
            delivery = Delivery(tag, queues[queue_index(tag)], raw)
            _, started_at_s, duration_s, kind = entries.finished[tag]
            outcome = Outcome(kind, delivery, payload_of(raw), started_at_s, duration_s)
            outcomes.append(with_event(identity, outcome, self._keys, self._events_of))
        return self._owners.settle(identity, outcomes) if outcomes else 0

    def _judge(self, identity: str, queues: list[str], entries: Entries) -> int:
        held = self._owners.held(identity, [began.tag for began in entries.running])
        running = [
            (Delivery(began.tag, queues[queue_index(began.tag)], held[began.tag]), began.since_s)
            for began in entries.running
            if began.tag in held
        ]
        return self._blame.judge(identity, running)


class Recovery:
    """Every running worker looks for owners whose lease is over; which of them is first does not matter.

    After an outage all leases are over though nobody has died, and so they are when Redis' clock was set forward, or the
    machine slept: nobody is recovered before all had time to renew.
    """

    def __init__(self, owners: OwnerRegister, take_over: TakeOver, patience: Patience) -> None:
        self._owners = owners
        self._take_over = take_over
        self._patience = patience
        self._counted: dict[str, int] = {}
        self._heard_at = time.monotonic()
        self._hold_until = 0.0
        self._ahead_s = float("inf")
        self._warned_at = float("-inf")

    def turn(self) -> float:
        """Return one slice of each dead owner's jobs. Return the seconds to rest before the next turn.

        Each is tried once: one that Redis refuses to recover holds up no other.
        """
        more, now_s = False, self._hear(self._owners.now_s)
        self._compare(now_s)
        for identity in self._hear(partial(self._owners.overdue, now_s)):
            if time.monotonic() < self._hold_until:
                break
            more |= self._recover(identity)
        return REST_S if more else LOOK_EVERY_S * random.uniform(0.75, 1.25)

    def _recover(self, identity: str) -> bool:
        try:
            taken = self._hear(lambda: self._take_over.slice(identity), deadline=time.monotonic())
        except REFUSALS as error:
            if time.monotonic() - self._warned_at > WARN_EVERY_S:
                self._warned_at = time.monotonic()
                logger.warning("%s is gone, and its jobs stay with it for now: %s", identity, error)
            return False
        except (BrokerUnavailable, Fenced):
            raise
        except Exception:  # whatever it is, it holds up no other
            logger.exception("%s is gone, and its jobs stay with it for now.", identity)
            return False
        self._counted[identity] = self._counted.get(identity, 0) + taken.returned
        if not taken.more and (jobs := self._counted.pop(identity)):
            logger.warning("%s is gone: its %d jobs are back in their queues.", identity, jobs)
        return taken.more

    def _hear(self, action: Callable[[], T], deadline: float | None = None) -> T:
        """Ask Redis. After an answer that was long in coming, recover nobody for one period of renewal."""
        answer = self._patience.call(action, deadline=deadline)
        now = time.monotonic()
        if now - self._heard_at > SILENCE_S:
            self._hold_until = now + GRACE_S
        self._heard_at = now
        return answer

    def _compare(self, now_s: float) -> None:
        """See whether Redis' clock has leapt since the last turn: this process' own stands still while the machine sleeps."""
        now = time.monotonic()
        if now_s - now - self._ahead_s > SILENCE_S:
            self._hold_until = now + GRACE_S
        self._ahead_s = now_s - now


class Lease:
    """Renew this process' lease every 5 s; it lasts 15 s of Redis' clock.

    Under a supervisor both do: the supervisor for a child whose job holds the GIL, the child for a supervisor that
    is dead, stopped, or loads new code. It lapses only if both are silent.
    """

    def __init__(self, ownership: Ownership, intake: Intake) -> None:
        self._ownership = ownership
        self._intake = intake
        self._strays = Strays(intake)

    def turn(self) -> float:
        """Renew once; look for strays. Return the seconds until the next time."""
        identity = self._ownership.identity
        try:
            self._ownership.renew()
            self._strays.look()
        except Fenced:
            self._intake.start_over(identity)
        return RENEW_EVERY_S


def sweep_journals(runtime_dir: Path, is_known: Callable[[str], bool]) -> None:
    """Delete journals that nobody holds and no owner here needs: what a machine that fell over has left.

    `is_known` tells whether anything may still be held under an identity (OwnerRegister.is_known). The directory
    is one for all projects of a user, each with a Redis of its own. So one that is held is touched:
    its age is how long its process may be dead, and only after 20 minutes has its own project recovered it.
    """
    for path in runtime_dir.glob("*.journal"):
        with contextlib.suppress(FileNotFoundError):
            if journal.is_held(path):
                os.utime(path)
                continue
            is_old = time.time() - path.stat().st_mtime > OLD_JOURNAL_S
            if is_old and not is_known(path.name.removesuffix(".journal")):
                path.unlink()
