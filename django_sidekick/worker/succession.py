"""Replacing children that work: a few at a time, so that there is no gap and no crowd."""

from __future__ import annotations

import time
from collections.abc import Sequence

from django_sidekick.worker.births import Births
from django_sidekick.worker.offspring import Offspring, Role

PART = 4
"""One of so many is replaced at a time."""


class Succession:
    """An elder works until its successor is ready; then it is told to end, and the next elder's turn comes.

    A successor that dies before is borne again, after the elder's `succeed_at`.
    """

    def __init__(self, births: Births, processes: int) -> None:
        self._births = births
        self._at_once: dict[Role, int] = {"service": 1, "worker": max(1, processes // PART)}

    def turn(self, children: Sequence[Offspring], roles: Sequence[Role]) -> None:
        """Bear successors for the children of these roles that want one, if it is their turn."""
        for role in roles:
            elders = [c for c in children if c.role == role and c.is_elder]
            room = self._at_once[role] - sum(elder.successor is not None for elder in elders)
            waiting = [elder for elder in elders if elder.successor is None]
            for elder in waiting[: max(0, room)]:
                if elder.succeed_at <= time.monotonic():
                    elder.successor = self._births.bear(role)
