"""The supervisor's forks: when the next one is due, and how a child begins its life."""

from __future__ import annotations

import logging
import os
import random
import socket
import sys
import time
from collections.abc import Callable

from django_sidekick import signals
from django_sidekick.worker import bell, link
from django_sidekick.worker.bell import Bell
from django_sidekick.worker.link import Link, SupervisorLink
from django_sidekick.worker.supervised import RestartBackoff, Role, SupervisedProcess

logger = logging.getLogger("sidekick")

OWN_FAULT = 70
"""Exit code of a child that an error of ours ended: no job is to blame. EX_SOFTWARE of sysexits.h."""

RunChild = Callable[[Role, Link], None]


class Spawner:
    """Starts children now or later, and adds them to `children`: the living, each to be told apart by its link."""

    def __init__(self, bell: Bell, children: list[SupervisedProcess], run_child: RunChild) -> None:
        self._bell = bell
        self._children = children
        self._run_child = run_child
        self._due: list[tuple[float, Role]] = []
        self._failures = RestartBackoff()
        self._rest_until = 0.0

    def schedule(self, role: Role, pause_s: float) -> None:
        """Start one later."""
        self._due.append((time.monotonic() + pause_s, role))

    def cancel(self, *roles: Role) -> None:
        """Start none of these roles that are due."""
        self._due = [(at, role) for at, role in self._due if role not in roles]

    def is_due(self, *roles: Role) -> bool:
        """Tell whether one of these roles is to be started, now or later."""
        return any(role in roles for _, role in self._due)

    @property
    def next_at(self) -> float:
        """When the next one is to be started, by time.monotonic()."""
        return max(self._rest_until, min((at for at, _ in self._due), default=float("inf")))

    def spawn_due(self) -> None:
        """Start those whose time has come."""
        for at, role in sorted(self._due):
            if at <= time.monotonic() and self.spawn(role):
                self._due.remove((at, role))

    def spawn(self, role: Role) -> SupervisedProcess | None:
        """Start one. Return None if the system has no room for it, or had none a moment ago."""
        if time.monotonic() < self._rest_until:
            return None
        try:
            child = self._fork(role)
        except OSError as error:
            pause_s = max(1.0, self._failures.pause_s(0.0))
            self._rest_until = time.monotonic() + pause_s
            logger.error("No %s process can be started: %s. The next attempt comes in %.0f s.", role, error, pause_s)
            return None
        self._failures = RestartBackoff()
        self._children.append(child)
        return child

    def _fork(self, role: Role) -> SupervisedProcess:
        ours, theirs = link.pair()
        sys.stdout.flush()
        sys.stderr.flush()
        bell.hold()  # in the child until it has its own handlers: TSTP would stop it for good
        try:
            pid = os.fork()
            if pid == 0:
                self._live(role, theirs, ours)
        except OSError:
            ours.close()
            raise
        finally:
            bell.release()
            theirs.close()
        return SupervisedProcess(pid, role, ours)

    def _live(self, role: Role, theirs: socket.socket, ours: SupervisorLink) -> None:
        """Be the child. Never return: what stands above us on the stack is the supervisor's."""
        code = OWN_FAULT
        try:
            self._bell.leave_to_child()
            for other in (ours, *(child.link for child in self._children)):
                other.close()  # a copy of it here would hide the supervisor's death from its child
            random.seed()
            signals.worker_forked.send(sender=type(self), role=role)
            self._run_child(role, Link(theirs))
            code = 0
        except BaseException:
            logger.exception("A %s process could not go on.", role)
        finally:
            logging.shutdown()
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)
