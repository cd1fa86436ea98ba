"""When `--drain` is done: nothing left to do now, here or with the dead."""

from __future__ import annotations

import time

from django_sidekick.broker.backlog import Backlog
from django_sidekick.broker.ownership import Ownership
from django_sidekick.broker.patience import Patience
from django_sidekick.broker.recovery import OwnerRegister

LOOK_EVERY_S = 0.1


class Drain:
    """Done when the queues, what is due, this process' in-flight and that of dead owners are empty.

    An owner of these queues that holds jobs may be dead or alive: it is waited for until it renews its lease
    (alive: its jobs are its own affair) or is recovered. The future is not waited for.
    """

    def __init__(self, backlog: Backlog, owners: OwnerRegister, own: Ownership) -> None:
        self._backlog = backlog
        self._owners = owners
        self._own = own
        self._patience: Patience = own.patience
        self._first_lease: dict[str, float] = {}
        self._next_look = 0.0

    def is_done(self) -> bool:
        """Look, at most ten times a second."""
        if time.monotonic() < self._next_look:
            return False
        self._next_look = time.monotonic() + LOOK_EVERY_S
        # What is recovered goes from its owner to the queue and on to a new owner: asked in this order it is seen.
        return not (self._has_backlog() or self._waits() or self._has_backlog() or self._waits())

    def _has_backlog(self) -> bool:
        return bool(self._patience.call(self._backlog.size))

    def _waits(self) -> bool:
        return bool(self._patience.call(self._waited_for))

    def _waited_for(self) -> list[str]:
        holders = self._owners.holders()
        if self._own.identity in holders:
            return [self._own.identity]
        for identity, lease in holders.items():
            self._first_lease.setdefault(identity, lease)
        mine = set(self._own.queues)
        return [
            identity
            for identity, lease in holders.items()
            if lease == self._first_lease[identity] and mine & set(self._owners.queues_of(identity))
        ]
