"""The parent of `runworker -p N`: forks, watches, replaces, and outlives what jobs do to their process."""

from __future__ import annotations

import gc
import logging
import os
import random
import select
import signal
import socket
import sys
import time
from collections.abc import Callable, Sequence
from types import FrameType
from typing import Any

from django.db import connections

from django_sidekick import signals
from django_sidekick.worker import link
from django_sidekick.worker.custody import Custody
from django_sidekick.worker.link import Link, SupervisorLink
from django_sidekick.worker.offspring import BirthControl, Offspring, Role
from django_sidekick.worker.options import WorkerOptions
from django_sidekick.worker.reexec import Renewal

logger = logging.getLogger("sidekick")

LOOK_EVERY_S = 0.5
MEMORY_EVERY_S = 5.0
KILL_AFTER_S = 10.0
RunChild = Callable[[Role, Link], None]
_HANDLED = ("SIGTERM", "SIGINT", "SIGTSTP", "SIGTTIN", "SIGHUP", "SIGCHLD")


class Supervisor:
    """Single-threaded: it sleeps in one select(), so that a fork copies no lock that somebody holds.

    Everything that jobs need is loaded before the first fork and frozen, so that children share its memory.
    """

    def __init__(
        self, options: WorkerOptions, custody: Custody, run_child: RunChild, renewal: Renewal
    ) -> None:
        self._options = options
        self._custody = custody
        self._run_child = run_child
        self._renewal = renewal
        self._children: list[Offspring] = []
        self._due_births: list[tuple[float, Role]] = []
        self._births = BirthControl()
        self._signals: list[str] = []
        self._bell, self._hammer = socket.socketpair()
        self._stopping_since: float | None = None
        self._is_quiet = False
        self._memory_at = 0.0

    def run(self) -> None:
        """Have the children work until told to stop, or until the last worker was dismissed."""
        self._listen()
        self._freeze()
        self._inherit()
        self._bear("service")
        for _ in range(self._options.processes):
            self._bear("worker")
        for old in self._children:
            if old.wants_successor and old.successor is None:  # there were more of them in the old code
                old.dismiss()
        while self._goes_on():
            self._sleep()
            self._obey()
            self._hear()
            self._reap()
            self._bear_due()
            self._watch_memory()
            self._end()
            self._custody.turn([c.as_ward() for c in self._workers() if c.is_ready], self._on_button)

    def _inherit(self) -> None:
        """Take over the children of the code before us; each is to be replaced."""
        for pid, role, number, identity in self._renewal.inherited:
            self._children.append(
                Offspring(
                    pid, role, link.taken_over(number), identity=identity,
                    is_ready=bool(identity), wants_successor=True,
                )
            )  # fmt: skip

    def _goes_on(self) -> bool:
        """Until all have ended and are buried; if Redis is away then, others bury them after their lease."""
        return bool(self._children or self._due_births or self._custody.has_dead)

    def _listen(self) -> None:
        self._bell.setblocking(False)
        self._hammer.setblocking(False)
        signal.set_wakeup_fd(self._hammer.fileno(), warn_on_full_buffer=False)
        for name in _HANDLED:
            signal.signal(getattr(signal, name), self._note)

    def _note(self, number: int, frame: FrameType | None) -> None:  # noqa: ARG002 Python's signature
        self._signals.append(signal.Signals(number).name)

    def _freeze(self) -> None:
        """Objects that live for ever leave the collector: it would write into every page that children share."""
        connections.close_all()
        gc.collect()
        gc.freeze()

    def _bear(self, role: Role) -> None:
        ours, theirs = link.pair()
        sys.stdout.flush()
        sys.stderr.flush()
        handled = {getattr(signal, name) for name in _HANDLED}
        signal.pthread_sigmask(signal.SIG_BLOCK, handled)
        pid = os.fork()
        if pid == 0:
            self._live(role, theirs, ours, handled)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, handled)
        theirs.close()
        child = Offspring(pid, role, ours)
        for old in self._children:
            if old.role == role and old.wants_successor and old.successor is None:
                old.successor = child
                break
        self._children.append(child)

    def _live(
        self, role: Role, theirs: socket.socket, ours: SupervisorLink, handled: set[signal.Signals]
    ) -> None:
        """Be the child. Never return: what stands above us on the stack is the supervisor's.

        The signals stay blocked until the child has its own handlers: TSTP would stop it for good.
        """
        code = 1
        try:
            signal.set_wakeup_fd(-1)
            for number in handled:
                signal.signal(number, signal.SIG_DFL)
            signal.signal(signal.SIGHUP, signal.SIG_IGN)
            for other in (ours, *(child.link for child in self._children)):
                other.close()  # a copy of it here would hide the supervisor's death from its child
            self._bell.close()
            self._hammer.close()
            self._custody.disconnect()
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

    def _sleep(self) -> None:
        due = [at - time.monotonic() for at, _ in self._due_births]
        timeout_s = max(0.0, min([LOOK_EVERY_S, *due]))
        sources: list[Any] = [self._bell, *(child.link for child in self._children)]
        readable = select.select(sources, [], [], timeout_s)[0]
        if self._bell in readable:
            self._bell.recv(4096)

    def _obey(self) -> None:
        heard, self._signals = self._signals, []
        for name in heard:
            if name in ("SIGTERM", "SIGINT"):
                self._stop()
            elif name == "SIGTSTP":
                self._is_quiet = True
                self._tell_all(self._workers(), signal.SIGTSTP)
            elif name == "SIGTTIN":
                self._tell_all(self._children, signal.SIGTTIN)
            elif name == "SIGHUP":
                self._renewal.ask()
        if self._renewal.is_agreed() and self._stopping_since is None:
            self._custody.renew(c.as_ward() for c in self._workers() if c.is_ready)
            self._renewal.carry_out(
                [(c.pid, c.role, c.link.keep_over_exec(), c.identity) for c in self._children]
            )

    def _hear(self) -> None:
        for child in list(self._children):
            said = child.hear()
            if said & {"identity", "ready", "quiet"}:
                self._custody.beat_soon(child.identity)
            if "replace" in said:
                self._succeed(child)
        for child in self._children:
            heir = child.successor
            if heir is not None and heir.is_ready and not child.is_dismissed:
                child.dismiss()

    def _reap(self) -> None:
        for child in list(self._children):
            code = child.has_ended()
            if code is None:
                continue
            child.hear()
            child.link.close()
            self._children.remove(child)
            if child.identity:
                self._custody.bury(child.identity, blame=code != 0 and not child.is_killed)
            self._replace(child, code)

    def _replace(self, child: Offspring, code: int) -> None:
        for old in self._children:
            if old.successor is child:
                old.successor = None
        is_wanted = not (child.is_dismissed or self._stopping_since or self._is_quiet)
        if child.wants_successor:  # its successor lives, or is about to be born
            is_wanted = False
        if code == 0 and self._options.drain and child.role == "worker":
            is_wanted = False
        if not is_wanted:
            return
        how = f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with {code}"
        lifetime_s = time.monotonic() - child.born
        pause_s = self._births.pause_s(lifetime_s)
        logger.warning(
            "The %s process %d %s after %.1f s; the next one comes %s.",
            child.role, child.pid, how, lifetime_s, f"in {pause_s:.0f} s" if pause_s else "at once",
        )  # fmt: skip
        self._due_births.append((time.monotonic() + pause_s, child.role))

    def _bear_due(self) -> None:
        now = time.monotonic()
        due = [role for at, role in self._due_births if at <= now]
        self._due_births = [birth for birth in self._due_births if birth[0] > now]
        for role in due:
            self._bear(role)

    def _watch_memory(self) -> None:
        most = self._options.settings.child_max_memory_mib
        if most is None or time.monotonic() < self._memory_at:
            return
        self._memory_at = time.monotonic() + MEMORY_EVERY_S
        for child in self._workers():
            if (now_mib := child.resident_mib) > most and not child.wants_successor:
                logger.warning("The worker process %d has grown to %.0f MiB.", child.pid, now_mib)
                self._succeed(child)

    def _succeed(self, child: Offspring) -> None:
        """Bear the one that takes its place; the old one is told to end when that is ready."""
        if not (child.wants_successor or child.is_dismissed or self._stopping_since):
            child.wants_successor = True
            self._bear(child.role)

    def _on_button(self, identity: str, name: str) -> None:
        for child in self._workers():
            if child.identity != identity:
                continue
            if name == "TERM":
                child.dismiss()
            elif name in ("TSTP", "TTIN"):
                child.send(getattr(signal, f"SIG{name}"))

    def _stop(self) -> None:
        if self._stopping_since is None:
            self._stopping_since = time.monotonic()
            self._due_births = []
            for child in self._workers():
                child.dismiss()

    def _end(self) -> None:
        """The service ends after the last worker; who does not end in time is killed."""
        if not self._workers() and not any(role == "worker" for _, role in self._due_births):
            if self._stopping_since is None:
                self._stopping_since = time.monotonic()
                self._due_births = []
            for child in self._children:
                if not child.is_dismissed:
                    child.dismiss()
        if self._is_overdue():
            for child in self._children:
                logger.warning("The %s process %d does not end: killed.", child.role, child.pid)
                child.kill()

    def _is_overdue(self) -> bool:
        if self._stopping_since is None:
            return False
        allowed_s = self._options.shutdown_timeout_s + KILL_AFTER_S
        return time.monotonic() > self._stopping_since + allowed_s

    def _workers(self) -> list[Offspring]:
        return [child for child in self._children if child.role == "worker"]

    @staticmethod
    def _tell_all(children: Sequence[Offspring], number: signal.Signals) -> None:
        for child in children:
            child.send(number)

