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
from django_sidekick.worker.offspring import BirthControl, Offspring, Role

logger = logging.getLogger("sidekick")

OWN_FAULT = 70
"""Exit code of a child that an error of ours ended: no job is to blame. EX_SOFTWARE of sysexits.h."""

RunChild = Callable[[Role, Link], None]


class Births:
    """Bears children now or later, and adds them to `children`: the living, each to be told apart by its link."""

    def __init__(self, bell: Bell, children: list[Offspring], run_child: RunChild) -> None:
        self._bell = bell
        self._children = children
        self._run_child = run_child
        self._due: list[tuple[float, Role]] = []
        self._failures = BirthControl()
        self._rest_until = 0.0

    def put_off(self, role: Role, pause_s: float) -> None:
        """Have one born later."""
        self._due.append((time.monotonic() + pause_s, role))

    def call_off(self, *roles: Role) -> None:
        """Forget the births that are due, of these roles."""
        self._due = [birth for birth in self._due if birth[1] not in roles]

    def is_due(self, *roles: Role) -> bool:
        """Tell whether one of these roles is to be born, now or later."""
        return any(role in roles for _, role in self._due)

    @property
    def next_at(self) -> float:
        """When the next one is to be born, by time.monotonic()."""
        return max(self._rest_until, min((at for at, _ in self._due), default=float("inf")))

    def bear_due(self) -> None:
        """Bear those whose time has come."""
        for birth in sorted(self._due):
            at, role = birth
            if at <= time.monotonic() and self.bear(role):
                self._due.remove(birth)

    def bear(self, role: Role) -> Offspring | None:
        """Bear one. Return None if the system has no room for it, or had none a moment ago."""
        if time.monotonic() < self._rest_until:
            return None
        try:
            child = self._fork(role)
        except OSError as error:
            pause_s = max(1.0, self._failures.pause_s(0.0))
            self._rest_until = time.monotonic() + pause_s
            logger.error(
                "No %s process can be born: %s. The next attempt comes in %.0f s.", role, error, pause_s
            )
            return None
        self._failures = BirthControl()
        self._children.append(child)
        return child

    def _fork(self, role: Role) -> Offspring:
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
        return Offspring(pid, role, ours)

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
