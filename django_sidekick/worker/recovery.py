"""Bringing back the jobs of processes that died, and keeping this one's lease."""

from __future__ import annotations

import logging
import random

from django_sidekick.broker.ownership import RENEW_EVERY_S, Ownership
from django_sidekick.broker.patience import Patience
from django_sidekick.broker.recovery import OwnerRegister
from django_sidekick.exceptions import Fenced
from django_sidekick.worker.intake import Intake

logger = logging.getLogger("sidekick")

LOOK_EVERY_S = 2.0
REST_S = 0.005


class Recovery:
    """Every running worker looks for owners whose lease is over; which of them is first does not matter."""

    def __init__(self, owners: OwnerRegister, patience: Patience) -> None:
        self._owners = owners
        self._patience = patience
        self._counted: dict[str, int] = {}

    def turn(self) -> float:
        """Return one slice of one dead owner's jobs. Return the seconds to rest before the next turn."""
        more = False
        for identity in self._patience.call(self._owners.overdue):
            more |= self._recover(identity)
        return REST_S if more else LOOK_EVERY_S * random.uniform(0.75, 1.25)

    def _recover(self, identity: str) -> bool:
        slice_of = self._patience.call(lambda: self._owners.recover(identity))
        self._counted[identity] = self._counted.get(identity, 0) + max(slice_of.jobs, 0)
        if not slice_of.more and (jobs := self._counted.pop(identity)):
            logger.warning("%s is gone: its %d jobs are back in their queues.", identity, jobs)
        return slice_of.more


class Lease:
    """Renew this process' lease every 5 s; it lasts 15 s of Redis' clock."""

    def __init__(self, ownership: Ownership, intake: Intake) -> None:
        self._ownership = ownership
        self._intake = intake

    def turn(self) -> float:
        """Renew once. Return the seconds until the next time."""
        identity = self._ownership.identity
        try:
            self._ownership.renew()
        except Fenced:
            self._intake.start_over(identity)
        return RENEW_EVERY_S
