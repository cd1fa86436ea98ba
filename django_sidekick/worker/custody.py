"""What a supervisor does in Redis for its children: leases, beats, recovery. One connection, never waited for."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable
from functools import partial
from typing import NamedTuple

from django_sidekick.broker import connection
from django_sidekick.broker.beats import ProcessBeat
from django_sidekick.broker.keys import Keys
from django_sidekick.broker.ownership import RENEW_EVERY_S
from django_sidekick.broker.patience import REFUSALS, Patience
from django_sidekick.broker.quarantine import Quarantine
from django_sidekick.broker.recovery import OwnerRegister
from django_sidekick.broker.waiting import BLOCK_S
from django_sidekick.exceptions import BrokerUnavailable, Fenced
from django_sidekick.jobs.mirrored import EventsOf
from django_sidekick.worker import journal
from django_sidekick.worker.display import BEAT_S, Display, ProcessInfo
from django_sidekick.worker.options import WorkerOptions
from django_sidekick.worker.recovery import TakeOver

logger = logging.getLogger("sidekick")

TRY_AGAIN_S = 1.0
LOOK_EVERY_S = 2.0
WARN_EVERY_S = 5.0
SWEEP_FOR_S = BLOCK_S + 1.0
SOCKET_TIMEOUT_S = 2.0


class ChildState(NamedTuple):
    """One child as Redis knows it."""

    identity: str
    started_at_s: float
    quiet: bool
    in_quarantine: bool = False


class Custody:
    """Keeps what children hold safe from outside, so that a job that holds the GIL cannot make one look dead.

    Made before the first fork, it connects after it. Each call is tried once: while Redis is away all rest for
    a second, so that the supervisor is never held up for longer than one time-out a turn. It is the one that says
    so, for its children too, and finds out within 5 s with nothing else to do. What Redis refuses is passed over
    until its next time. Raise ConfigurationError if RUNTIME_DIR is not safe.
    """

    def __init__(self, options: WorkerOptions, events_of: EventsOf | None = None) -> None:
        settings = options.settings
        journal.make_directory(settings.runtime_dir)
        self._options = options
        self._client = connection.client(settings, socket_timeout_s=SOCKET_TIMEOUT_S)
        self._patience = Patience(self._client)
        self._owners = OwnerRegister(self._client, settings)
        self._take_over = TakeOver(self._owners, settings, events_of, options.quarantined)
        keys = Keys(settings.key_prefix)
        self._quarantine = Quarantine(self._client, keys, options.quarantined)
        self.has_suspects = False
        """Whether jobs waited in the quarantine at the last look."""
        self._beats = ProcessBeat(self._client, keys)
        self._dead: dict[str, bool] = {}
        self._sweep_until: dict[str, float] = {}
        self._renew_at = 0.0
        self._recover_at = 0.0
        self._beat_at: dict[str, float] = {}
        self._look_at = 0.0
        self._warned_at = float("-inf")
        self._shown: set[str] = set()
        self._rest_until = 0.0
        self._misses = 0

    def disconnect(self) -> None:
        """Close the connection here, in a forked child; the supervisor's stays open."""
        self._client.connection_pool.disconnect()

    def turn(self, children: Iterable[ChildState], on_signal: Callable[[str, str], None]) -> None:
        """Do what is due for the living, and again what could not be done for the dead.

        `on_signal` is told of a dashboard's button: identity, TSTP, TERM or TTIN.
        """
        now = time.monotonic()
        if now < self._rest_until:
            return
        if now >= self._look_at and self._try(self._look):
            self._look_at = now + LOOK_EVERY_S
        children = list(children)
        if now >= self._renew_at:
            self.renew(children)
        self._look_after_the_dead(now)
        for child in children:
            if now >= self._beat_at.get(child.identity, 0.0) and self._try(partial(self._beat, child, on_signal)):
                self._beat_at[child.identity] = now + BEAT_S
        for identity in self._shown - {child.identity for child in children} - self._dead.keys():
            self._try(partial(self._take_down, identity))
        if time.monotonic() >= self._rest_until:  # all that was due has gone through
            self._misses = 0
            self._patience.absence.met()

    def _look(self) -> None:
        self.has_suspects = False
        self.has_suspects = self._quarantine.is_needed()

    def renew(self, children: Iterable[ChildState]) -> None:
        """Renew all leases; if one could not be, all again as soon as Redis is tried again."""
        done = [self._try(partial(self._owners.renew, child.identity)) for child in children]
        self._renew_at = time.monotonic() + (RENEW_EVERY_S if all(done) else TRY_AGAIN_S)

    def beat_soon(self, identity: str) -> None:
        """Let the next turn show this child anew."""
        self._beat_at.pop(identity, None)

    def recover(self, identity: str, *, blame: bool) -> None:
        """Bring back what a dead child held: now, or with a later turn if Redis is away.

        With `blame`, what it was running counts as what may have killed it.
        """
        self._beat_at.pop(identity, None)
        self._dead[identity] = blame
        self._try_to_recover(identity)

    @property
    def has_dead(self) -> bool:
        """Whether a dead child is still to be recovered, and Redis is there for it."""
        return bool(self._dead) and time.monotonic() >= max(self._rest_until, self._recover_at)

    def _look_after_the_dead(self, now: float) -> None:
        """Recover whom we could not; sweep again after whom we could, for the server may not know of the death yet.

        Until it does it may serve the dead child's BLMOVE, and so move one more job into its wake list.
        """
        if now >= self._recover_at:
            for identity in list(self._dead):
                self._try_to_recover(identity)
        for identity, until in list(self._sweep_until.items()):
            self._try(partial(self._owners.recover, identity, certain=True))
            if now > until:
                self._sweep_until.pop(identity)

    def _try_to_recover(self, identity: str) -> None:
        if not self._try(partial(self._recover, identity)):
            self._recover_at = time.monotonic() + TRY_AGAIN_S

    def _recover(self, identity: str) -> None:
        began, returned, settled, more = time.perf_counter(), 0, 0, True
        while more:
            taken = self._take_over.slice(identity, certain=True, blame=self._dead[identity])
            returned, settled, more = returned + taken.returned, settled + taken.settled, taken.more
        self._take_down(identity)
        self._dead.pop(identity)
        self._look_at = 0.0  # it may have left suspects
        self._sweep_until[identity] = time.monotonic() + SWEEP_FOR_S
        if returned or settled:
            took_ms = (time.perf_counter() - began) * 1000
            logger.warning(
                "%s is gone: %d jobs are back in their queues, %d that it had finished are settled (%.0f ms).",
                identity, returned, settled, took_ms,
            )  # fmt: skip

    def _take_down(self, identity: str) -> None:
        """Show it no longer: it is dead, or goes by another name."""
        self._beats.leave(identity)
        self._shown.discard(identity)
        self._beat_at.pop(identity, None)

    def _beat(self, child: ChildState, on_signal: Callable[[str, str], None]) -> None:
        options = self._options.of_quarantine if child.in_quarantine else self._options
        info = ProcessInfo(options.queues, options.concurrency, options.tag, options.labels, child.started_at_s)
        path = journal.path_of(options.settings.runtime_dir, child.identity)
        running = journal.read(path).running
        self._shown.add(child.identity)
        asked = Display(self._beats, info).beat(child.identity, running, quiet=child.quiet)
        if asked:
            on_signal(child.identity, asked)

    def _try(self, action: Callable[[], object]) -> bool:
        """Act once, unless we rest. Return False if it is to be done again."""
        if time.monotonic() < self._rest_until:
            return False
        try:
            self._patience.call(action, deadline=time.monotonic())
        except Fenced:  # others have taken its jobs: it finds out by itself and takes a new name
            return True
        except BrokerUnavailable as error:
            self._rest_until = time.monotonic() + TRY_AGAIN_S
            self._misses += 1
            if self._misses > 1:  # the first may only have met a connection that was cut
                self._patience.absence.missed(error.__cause__ or error)
            return False
        except REFUSALS as error:
            self._warn("Redis refuses: %s. The supervisor tries again.", error)
            return False
        except Exception as error:  # noqa: BLE001 whatever it is, the children need their supervisor
            self._warn("What a supervisor does for its children has failed: %r. It tries again.", error, exc_info=error)
            return False
        return True

    def _warn(self, text: str, *values: object, exc_info: Exception | None = None) -> None:
        if time.monotonic() - self._warned_at > WARN_EVERY_S:
            self._warned_at = time.monotonic()
            logger.warning(text, *values, exc_info=exc_info)
