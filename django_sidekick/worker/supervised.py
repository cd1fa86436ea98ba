"""One child of the supervisor, seen from above; and how long to wait before the next one is started."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Literal

from django_sidekick.worker.custody import ChildState
from django_sidekick.worker.display import resident_kib
from django_sidekick.worker.link import SupervisorLink

Role = Literal["worker", "service", "quarantine"]

YOUNG_S = 10.0
FIRST_PAUSE_S = 1.0
LONGEST_PAUSE_S = 30.0


@dataclass(slots=True, eq=False)
class SupervisedProcess:
    """A forked process. `identity` is empty until it has said it, and always for a service."""

    pid: int
    role: Role
    link: SupervisorLink
    started: float = field(default_factory=time.monotonic)
    started_at_s: float = field(default_factory=time.time)
    identity: str = ""
    is_ready: bool = False
    is_quiet: bool = False
    is_dismissed: bool = False
    """Told to end, by us or by a dashboard: nobody takes its place."""

    end_by: float = float("inf")
    """When its time to end is over, once it was dismissed."""

    is_killed: bool = False
    """Ended by us the hard way: its jobs are not to blame."""

    wants_replacement: bool = False
    """Another one is to take its place, as soon as its turn has come."""

    replace_at: float = 0.0
    """Not before then."""

    replacement: SupervisedProcess | None = None
    """When it is ready, this one is told to end."""

    base_mib: float = 0.0
    """Its memory before its first job, as it said itself."""

    def hear(self) -> set[str]:
        """Take in what it has said. Return the words."""
        said = set()
        for what, value in self.link.hear():
            said.add(what)
            if what == "identity":
                self.identity = value
            elif what == "ready":
                self.is_ready = True
                self.base_mib = int(value or 0) / 1024
            elif what == "quiet":
                self.is_quiet = True
        return said

    def send(self, number: signal.Signals) -> None:
        """Send a signal; harmless if it has just ended."""
        try:
            os.kill(self.pid, number)
        except ProcessLookupError:
            return

    def dismiss(self, within_s: float) -> None:
        """Tell it to end: it drains, pushes back, and nobody takes its place. The first time counts."""
        if not self.is_dismissed:
            self.end_by = time.monotonic() + within_s
        self.is_dismissed = True
        self.send(signal.SIGTERM)

    def kill(self) -> None:
        """End it at once."""
        self.is_dismissed = self.is_killed = True
        self.end_by = float("inf")
        self.send(signal.SIGKILL)

    def has_ended(self) -> int | None:
        """Return its exit code, negative for a signal, if it has ended; take it out of the process table."""
        try:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
        except ChildProcessError:
            return 0
        return os.waitstatus_to_exitcode(status) if pid else None

    @property
    def awaits_replacement(self) -> bool:
        """Whether it works until another one takes its place."""
        return self.wants_replacement and not self.is_dismissed

    @property
    def is_replaced(self) -> bool:
        """Whether its replacement is ready."""
        return self.replacement is not None and self.replacement.is_ready

    @property
    def resident_mib(self) -> float:
        """Its memory."""
        return resident_kib(self.pid) / 1024

    @property
    def runs_jobs(self) -> bool:
        """Whether it holds jobs, and a lease."""
        return self.role != "service"

    def as_state(self) -> ChildState:
        """Return it as Redis knows it."""
        return ChildState(self.identity, self.started_at_s, self.is_quiet, self.role == "quarantine")


class RestartBackoff:
    """A dead child is replaced at once, unless children keep dying young: then 1 s, 2 s, 4 s … 30 s later."""

    def __init__(self, young_s: float = YOUNG_S, longest_pause_s: float = LONGEST_PAUSE_S) -> None:
        self._young_s = young_s
        self._longest_pause_s = longest_pause_s
        self._young_in_a_row = 0

    def pause_s(self, lifetime_s: float) -> float:
        """Return how long to wait before the one that lived so long is replaced."""
        if lifetime_s >= self._young_s:
            self._young_in_a_row = 0
            return 0.0
        self._young_in_a_row += 1
        if self._young_in_a_row == 1:
            return 0.0
        doubled: int = 2 ** min(self._young_in_a_row - 2, 10)
        return min(FIRST_PAUSE_S * doubled, self._longest_pause_s)


def reap_strangers(own: Collection[int]) -> None:
    """Take ended children that are not `own` out of the process table.

    Process 1 of a container is handed the orphans that jobs leave behind. An own one that has ended meanwhile
    stays for whoever waits for it, and what lies behind it for the next time.
    """
    if not hasattr(os, "waitid"):
        return
    try:
        while ended := os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT):
            if ended.si_pid in own:
                return
            os.waitpid(ended.si_pid, os.WNOHANG)
    except ChildProcessError:  # there is none
        return
