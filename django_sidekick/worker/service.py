"""What every host needs once, whatever the number of its processes: scheduler, recovery, news of the dead."""

from __future__ import annotations

import logging
from collections.abc import Collection, Sequence
from typing import Protocol

from django_sidekick.broker import connection
from django_sidekick.broker.due import DueJobs, DueWatch
from django_sidekick.broker.keys import Keys
from django_sidekick.broker.leadership import Leadership
from django_sidekick.broker.ownership import new_identity
from django_sidekick.broker.patience import Patience
from django_sidekick.broker.recovery import OwnerRegister
from django_sidekick.conf import Settings
from django_sidekick.jobs.mirrored import EventsOf
from django_sidekick.worker.deathnotices import DeathNotices
from django_sidekick.worker.recovery import Recovery, TakeOver, sweep_journals
from django_sidekick.worker.scheduler import Scheduler
from django_sidekick.worker.threads import Ticker

logger = logging.getLogger("sidekick")

SWEEP_EVERY_S = 600.0
LAST_TURN_S = 2.0


class Actor(Protocol):
    """Something more that a service does, handed in by whoever composes it.

    Its thread calls `turn` as a Ticker does.
    """

    name: str
    patience: Patience

    def turn(self) -> float:
        """Do a little. Return the seconds to rest before the next turn."""

    def stop(self) -> None:
        """Let the turn that is under way be the last one."""

    def resign(self) -> None:
        """Leave the rest to others; called when the last turn has ended."""


class Service:
    """Moves jobs whose time has come, brings back the jobs of the dead, tells of jobs that died with a process: a thread each.

    Alone in a process of its own beside the workers, so that it never waits for a job that holds the GIL; in
    the worker's process under -p 0. `quarantined`: the queues whose suspects its supervisor runs apart.
    """

    def __init__(
        self,
        settings: Settings,
        events_of: EventsOf | None = None,
        actors: Sequence[Actor] = (),
        quarantined: Collection[str] = (),
    ) -> None:
        self._settings = settings
        self._actors = {actor: Ticker(actor.name, actor.turn) for actor in actors}
        self._client = connection.worker_client(settings)
        self.patience = Patience(self._client)
        self.owners = OwnerRegister(self._client, settings)
        keys = Keys(settings.key_prefix)
        self._watch = DueWatch(settings, keys)
        jobs = DueJobs(self._client, settings)
        lease = Leadership(self._client, keys.scheduler, new_identity(), self.patience)
        self._scheduler = Scheduler(jobs, self._watch, lease, self.patience)
        take_over = TakeOver(self.owners, settings, events_of, quarantined)
        recovery = Recovery(self.owners, take_over, self.patience)
        self._schedule = Ticker("scheduler", self._scheduler.turn)
        self._tickers = [
            self._schedule,
            Ticker("recovery", recovery.turn),
            Ticker("sweep", self._sweep),
            Ticker("deathnotices", DeathNotices(self._client, settings, self.patience).turn),
            *self._actors.values(),
        ]

    @property
    def patiences(self) -> list[Patience]:
        """All that may wait for Redis."""
        return [self.patience, *(actor.patience for actor in self._actors)]

    def start(self) -> None:
        """Start the threads; each waits for Redis as long as it takes."""
        for ticker in self._tickers:
            ticker.start()

    def stop_scheduling(self) -> None:
        """Move no further jobs, and leave the schedule to another host at once."""
        self._schedule.stop()
        self._watch.wake()

    def stop(self) -> None:
        """Stop all threads. What is under way in Redis is one script, and ends."""
        self.stop_scheduling()
        for actor in self._actors:
            actor.stop()
        for ticker in self._tickers:
            ticker.stop()
        self._schedule.join(1.0)
        self._scheduler.resign()
        for actor, ticker in self._actors.items():
            ticker.join(LAST_TURN_S)
            actor.resign()

    def _sweep(self) -> float:
        sweep_journals(self._settings.runtime_dir, self._is_known)
        return SWEEP_EVERY_S

    def _is_known(self, identity: str) -> bool:
        return self.patience.call(lambda: self.owners.is_known(identity))
