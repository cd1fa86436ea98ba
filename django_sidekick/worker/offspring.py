"""One child of the supervisor, seen from above; and when the next one may be born."""

from __future__ import annotations

import os
import signal
import time
from dataclasses import dataclass, field
from typing import Literal

from django_sidekick.worker.custody import Ward
from django_sidekick.worker.display import resident_kib
from django_sidekick.worker.link import SupervisorLink

Role = Literal["worker", "service"]

YOUNG_S = 10.0
FIRST_PAUSE_S = 1.0
LONGEST_PAUSE_S = 30.0


@dataclass(slots=True)
class Offspring:
    """A forked process. `identity` is empty until it has said it, and always for a service."""

    pid: int
    role: Role
    link: SupervisorLink
    born: float = field(default_factory=time.monotonic)
    born_at_s: float = field(default_factory=time.time)
    identity: str = ""
    is_ready: bool = False
    is_quiet: bool = False
    is_dismissed: bool = False
    """Told to end, by us or by a dashboard: nobody takes its place."""

    is_killed: bool = False
    """Ended by us the hard way: its jobs are not to blame."""

    wants_successor: bool = False
    """The next one of its role that is born takes its place."""

    successor: Offspring | None = None
    """When it is ready, this one is told to end."""

    def hear(self) -> set[str]:
        """Take in what it has said. Return the words."""
        said = set()
        for what, value in self.link.hear():
            said.add(what)
            if what == "identity":
                self.identity = value
            elif what == "ready":
                self.is_ready = True
            elif what == "quiet":
                self.is_quiet = True
        return said

    def send(self, number: signal.Signals) -> None:
        """Send a signal; harmless if it has just ended."""
        try:
            os.kill(self.pid, number)
        except ProcessLookupError:
            return

    def dismiss(self) -> None:
        """Tell it to end: it drains, pushes back, and nobody takes its place."""
        self.is_dismissed = True
        self.send(signal.SIGTERM)

    def kill(self) -> None:
        """End it at once."""
        self.is_dismissed = self.is_killed = True
        self.send(signal.SIGKILL)

    def has_ended(self) -> int | None:
        """Return its exit code, negative for a signal, if it has ended; take it out of the process table."""
        try:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
        except ChildProcessError:
            return 0
        return os.waitstatus_to_exitcode(status) if pid else None

    @property
    def resident_mib(self) -> float:
        """Its memory."""
        return resident_kib(self.pid) / 1024

    def as_ward(self) -> Ward:
        """Return it as Redis knows it."""
        return Ward(self.identity, self.born_at_s, self.is_quiet)


class BirthControl:
    """A dead child is replaced at once, unless children keep dying young: then 1 s, 2 s, 4 s … 30 s later."""

    def __init__(self) -> None:
        self._young_in_a_row = 0

    def pause_s(self, lifetime_s: float) -> float:
        """Return how long to wait before the one that lived so long is replaced."""
        if lifetime_s >= YOUNG_S:
            self._young_in_a_row = 0
            return 0.0
        self._young_in_a_row += 1
        if self._young_in_a_row == 1:
            return 0.0
        return float(min(FIRST_PAUSE_S * 2 ** min(self._young_in_a_row - 2, 10), LONGEST_PAUSE_S))
