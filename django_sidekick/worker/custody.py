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
from django_sidekick.broker.patience import Patience
from django_sidekick.broker.recovery import OwnerRegister
from django_sidekick.exceptions import BrokerUnavailable, Fenced
from django_sidekick.worker import journal
from django_sidekick.worker.display import BEAT_S, Display, ProcessInfo
from django_sidekick.worker.options import WorkerOptions
from django_sidekick.worker.recovery import EventsOf, TakeOver

logger = logging.getLogger("sidekick")

TRY_AGAIN_S = 1.0
LOOK_EVERY_S = 2.0
SOCKET_TIMEOUT_S = 2.0


class Ward(NamedTuple):
    """One child as Redis knows it."""

    identity: str
    started_at_s: float
    quiet: bool


class Custody:
    """Keeps what children hold safe from outside, so that a job that holds the GIL cannot make one look dead.

    Made before the first fork, it connects after it. Each call is tried once: while Redis is away all rest for
    a second, so that the supervisor is never held up for longer than one time-out. It is the one that says so,
    for its children too, and finds out within 5 s with nothing else to do.
    """

    def __init__(self, options: WorkerOptions, events_of: EventsOf | None = None) -> None:
        settings = options.settings
        self._options = options
        self._client = connection.client(settings, socket_timeout_s=SOCKET_TIMEOUT_S)
        self._patience = Patience(self._client)
        self._owners = OwnerRegister(self._client, settings)
        self._take_over = TakeOver(self._owners, settings, events_of)
        self._beats = ProcessBeat(self._client, Keys(settings.key_prefix))
        self._dead: dict[str, bool] = {}
        self._renew_at = 0.0
        self._beat_at: dict[str, float] = {}
        self._look_at = 0.0
        self._rest_until = 0.0
        self._misses = 0

    def disconnect(self) -> None:
        """Close the connection here, in a forked child; the supervisor's stays open."""
        self._client.connection_pool.disconnect()

    def turn(self, wards: Iterable[Ward], on_signal: Callable[[str, str], None]) -> None:
        """Do what is due for the living, and again what could not be done for the dead.

        `on_signal` is told of a dashboard's button: identity, TSTP, TERM or TTIN.
        """
        now = time.monotonic()
        if now < self._rest_until:
            return
        if now >= self._look_at and self._try(self._client.ping):
            self._look_at = now + LOOK_EVERY_S
        for identity in list(self._dead):
            self._try(partial(self._recover, identity))
        wards = list(wards)
        if now >= self._renew_at and all(
            self._try(partial(self._owners.renew, ward.identity)) for ward in wards
        ):
            self._renew_at = now + RENEW_EVERY_S
        for ward in wards:
            if now >= self._beat_at.get(ward.identity, 0.0) and self._try(partial(self._beat, ward, on_signal)):
                self._beat_at[ward.identity] = now + BEAT_S
        if time.monotonic() >= self._rest_until:  # all that was due has gone through
            self._misses = 0
            self._patience.absence.met()

    def beat_soon(self, identity: str) -> None:
        """Let the next turn show this child anew."""
        self._beat_at.pop(identity, None)

    def bury(self, identity: str, *, blame: bool) -> None:
        """Bring back what a dead child held: now, or with a later turn if Redis is away.

        With `blame`, what it was running counts as what may have killed it.
        """
        self._beat_at.pop(identity, None)
        self._dead[identity] = blame
        self._try(partial(self._recover, identity))

    @property
    def has_dead(self) -> bool:
        """Whether a dead child is still to be recovered, and Redis is there for it."""
        return bool(self._dead) and time.monotonic() >= self._rest_until

    def _recover(self, identity: str) -> None:
        began, returned, settled, more = time.perf_counter(), 0, 0, True
        while more:
            taken = self._take_over.slice(identity, certain=True, blame=self._dead[identity])
            returned, settled, more = returned + taken.returned, settled + taken.settled, taken.more
        self._beats.leave(identity)
        self._dead.pop(identity)
        if returned or settled:
            took_ms = (time.perf_counter() - began) * 1000
            logger.warning(
                "%s is gone: %d jobs are back in their queues, %d that it had finished are settled (%.0f ms).",
                identity, returned, settled, took_ms,
            )  # fmt: skip

    def _beat(self, ward: Ward, on_signal: Callable[[str, str], None]) -> None:
        options = self._options
        info = ProcessInfo(
            options.queues, options.concurrency, options.tag, options.labels, ward.started_at_s
        )
        path = journal.path_of(options.settings.runtime_dir, ward.identity)
        running = journal.read(path).running
        asked = Display(self._beats, info).beat(ward.identity, running, quiet=ward.quiet)
        if asked:
            on_signal(ward.identity, asked)

    def _try(self, action: Callable[[], object]) -> bool:
        """Call once. Return False if it is still to be done: Redis is away, or was just now."""
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
        return True
