"""Replacing children that work: a few at a time, so that there is no gap and no crowd."""

from __future__ import annotations

import time
from collections.abc import Sequence

from django_sidekick.worker.spawner import Spawner
from django_sidekick.worker.supervised import Role, SupervisedProcess

PART = 4
"""One of so many is replaced at a time."""


class RollingReplacement:
    """A process works until its replacement is ready; then it is told to end, and the next one's turn comes.

    A replacement that dies before is started again, after the old one's `replace_at`.
    """

    def __init__(self, spawner: Spawner, processes: int) -> None:
        self._spawner = spawner
        self._at_once: dict[Role, int] = {"service": 1, "worker": max(1, processes // PART)}

    def turn(self, children: Sequence[SupervisedProcess], roles: Sequence[Role]) -> None:
        """Bear successors for the children of these roles that want one, if it is their turn."""
        for role in roles:
            old = [c for c in children if c.role == role and c.awaits_replacement]
            room = self._at_once[role] - sum(child.replacement is not None for child in old)
            waiting = [child for child in old if child.replacement is None]
            for child in waiting[: max(0, room)]:
                if child.replace_at <= time.monotonic():
                    child.replacement = self._spawner.spawn(role)
