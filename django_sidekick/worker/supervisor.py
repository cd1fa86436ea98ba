"""The parent of `runworker -p N`: watches its children, replaces them, and outlives what jobs do to them."""

from __future__ import annotations

import logging
import select
import signal
import time
from collections.abc import Sequence
from typing import Any, get_args

from django.db import connections

from django_sidekick.worker import collector
from django_sidekick.worker.bell import Bell
from django_sidekick.worker.custody import Custody
from django_sidekick.worker.leash import Leash
from django_sidekick.worker.memory import MemoryWatch
from django_sidekick.worker.options import WorkerOptions
from django_sidekick.worker.reexec import Renewal
from django_sidekick.worker.replacement import RollingReplacement
from django_sidekick.worker.spawner import OWN_FAULT, RunChild, Spawner
from django_sidekick.worker.supervised import (
    RestartBackoff,
    Role,
    SupervisedProcess,
    reap_strangers,
)

logger = logging.getLogger("sidekick")

ROLES: tuple[Role, ...] = get_args(Role)
LOOK_EVERY_S = 0.5
KILL_AFTER_S = 10.0


class Supervisor:
    """Single-threaded: it sleeps in one select(), so that a fork copies no lock that somebody holds.

    Everything that jobs need is loaded before the first fork and frozen, so that children share its memory.
    """

    def __init__(
        self,
        options: WorkerOptions,
        custody: Custody,
        run_child: RunChild,
        renewal: Renewal,
        leash: Leash | None = None,
    ) -> None:
        self._options = options
        self._custody = custody
        self._run_child = run_child
        self._renewal = renewal
        self._leash = leash
        self._children: list[SupervisedProcess] = []
        self._bell = Bell()
        self._spawner = Spawner(self._bell, self._children, self._begin)
        self._backoffs = {role: RestartBackoff() for role in ROLES}
        self._replacing = RollingReplacement(self._spawner, options.processes)
        self._memory = MemoryWatch(options.settings.child_max_memory_mib)
        self._is_stopping = False
        self._is_quiet = renewal.was_quiet

    def run(self) -> None:
        """Have the children work until told to stop, or until the last worker was dismissed."""
        self._bell.listen()
        self._freeze()
        self._inherit()
        while self._goes_on():
            self._sleep()
            self._obey()
            self._hear()
            self._reap()
            self._replace_old()
            self._spawner.spawn_due()
            self._end()
            self._custody.turn([c.as_state() for c in self._workers() if c.is_ready], self._on_button)
            self._open_quarantine()

    def _inherit(self) -> None:
        """Take over the children of the code before us; each is to be replaced. Start those that are missing."""
        for child in self._renewal.inherited():
            child.wants_replacement = True
            self._children.append(child)
            if child.is_dismissed or child.role == "quarantine":
                child.is_dismissed = False
                self._dismiss(child)
        wanted: dict[Role, int] = {"service": 1, "worker": self._options.processes}
        for role, count in wanted.items():
            old = [c for c in self._children if c.role == role and c.awaits_replacement]
            for surplus in sorted(old, key=lambda child: not child.is_ready)[count:]:
                self._dismiss(surplus)
            for _ in range(count - len(old)):
                self._spawner.schedule(role, 0.0)
        self._be_quiet()

    def _goes_on(self) -> bool:
        """Until all have ended and are recovered; if Redis is away then, others recover them after their lease."""
        is_due = self._spawner.is_due(*ROLES)
        return bool(self._children or is_due or self._custody.has_dead)

    def _freeze(self) -> None:
        """Before the first fork: no connection, and no object that the collector would write into, is inherited."""
        connections.close_all()
        collector.freeze()

    def _begin(self, role: Role, link: Any) -> None:
        self._custody.disconnect()
        self._run_child(role, link)

    def _sleep(self) -> None:
        timeout_s = max(0.0, min(LOOK_EVERY_S, self._spawner.next_at - time.monotonic()))
        sources: list[Any] = [self._bell, *(child.link for child in self._children)]
        if self._leash:
            sources.append(self._leash)
        select.select(sources, [], [], timeout_s)
        self._bell.rest()

    def _obey(self) -> None:
        for name in self._bell.heard():
            if name in ("SIGTERM", "SIGINT"):
                self._stop()
            elif name == "SIGTSTP":
                self._is_quiet = True
                self._be_quiet()
                self._tell_all(self._workers(), signal.SIGTSTP)
            elif name == "SIGTTIN":
                self._tell_all(self._children, signal.SIGTTIN)
            elif name == "SIGHUP":
                self._renewal.ask()
        if self._leash:
            self._watch_the_watcher(self._leash)
        if self._is_stopping:
            return
        self._renewal.turn()
        if self._renewal.is_agreed:
            self._custody.renew(c.as_state() for c in self._workers() if c.is_ready)
            self._renewal.carry_out(self._children, is_quiet=self._is_quiet, is_called_off=lambda: self._bell.is_rung)

    def _watch_the_watcher(self, leash: Leash) -> None:
        leash.tell_files()
        if leash.is_broken:
            logger.warning("The watcher is gone: stopping.")
            self._leash = None
            self._stop()

    def _be_quiet(self) -> None:
        """While quiet no process is started to run jobs: it would have nothing to do."""
        if self._is_quiet:
            self._spawner.cancel("worker", "quarantine")

    def _hear(self) -> None:
        for child in list(self._children):
            said = child.hear()
            if said & {"identity", "ready", "quiet"}:
                self._custody.beat_soon(child.identity)
            if "replace" in said:
                child.wants_replacement = True
        for child in self._memory.too_big(self._workers()):
            child.wants_replacement = True

    def _open_quarantine(self) -> None:
        """Have suspects run one at a time, in a process of their own that ends when none is left."""
        is_open = self._spawner.is_due("quarantine") or any(c.role == "quarantine" for c in self._children)
        if self._custody.has_suspects and not (is_open or self._is_quiet or self._is_stopping):
            self._spawner.schedule("quarantine", 0.0)

    def _replace_old(self) -> None:
        """Tell those to end whose replacements are ready; then start the next."""
        for child in self._children:
            if child.is_replaced and not child.is_dismissed:
                self._dismiss(child)
        if not self._is_stopping:
            roles: Sequence[Role] = ("service",) if self._is_quiet else ("service", "worker")
            self._replacing.turn(self._children, roles)

    def _reap(self) -> None:
        for child in list(self._children):
            code = child.has_ended()
            if code is None:
                continue
            child.hear()
            child.link.close()
            self._children.remove(child)
            if child.identity:
                is_to_blame = code not in (0, OWN_FAULT) and not child.is_killed
                self._custody.recover(child.identity, blame=is_to_blame)
            self._replace(child, code)
        reap_strangers({child.pid for child in self._children} | self._renewal.pids)

    def _replace(self, child: SupervisedProcess, code: int) -> None:
        old = next((other for other in self._children if other.replacement is child), None)
        if old:
            old.replacement = None
        is_wanted = not (child.is_dismissed or self._is_stopping)
        if self._is_quiet and child.runs_jobs:
            is_wanted = False
        if child.replacement in self._children:
            is_wanted = False
        if code == 0 and (self._options.drain or child.role == "quarantine") and child.runs_jobs:
            is_wanted = False
        if not is_wanted:
            return
        how = f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with {code}"
        lifetime_s = time.monotonic() - child.started
        pause_s = self._backoffs[child.role].pause_s(lifetime_s)
        logger.warning(
            "The %s process %d %s after %.1f s; the next one comes %s.",
            child.role, child.pid, how, lifetime_s, f"in {pause_s:.0f} s" if pause_s else "at once",
        )  # fmt: skip
        if old and old.awaits_replacement:
            old.replace_at = time.monotonic() + pause_s
        else:
            self._spawner.schedule(child.role, pause_s)

    def _on_button(self, identity: str, name: str) -> None:
        for child in self._workers():
            if child.identity != identity:
                continue
            if name == "TERM":
                self._dismiss(child)
            elif name in ("TSTP", "TTIN"):
                child.send(getattr(signal, f"SIG{name}"))

    def _dismiss(self, child: SupervisedProcess) -> None:
        drain_s = self._options.shutdown_timeout_s if child.runs_jobs else 0.0
        child.dismiss(drain_s + KILL_AFTER_S)

    def _stop(self) -> None:
        if not self._is_stopping:
            self._is_stopping = True
            self._renewal.abandon()
            self._spawner.cancel(*ROLES)
            for child in self._workers():
                self._dismiss(child)

    def _end(self) -> None:
        """The service ends after the last worker; who does not end in time is killed."""
        if not self._workers() and not self._spawner.is_due("worker", "quarantine"):
            self._stop()
            for child in self._children:
                if not child.is_dismissed:
                    self._dismiss(child)
        for child in self._children:
            if time.monotonic() > child.end_by:
                logger.warning("The %s process %d does not end: killed.", child.role, child.pid)
                child.kill()

    def _workers(self) -> list[SupervisedProcess]:
        return [child for child in self._children if child.runs_jobs]

    @staticmethod
    def _tell_all(children: Sequence[SupervisedProcess], number: signal.Signals) -> None:
        for child in children:
            child.send(number)
