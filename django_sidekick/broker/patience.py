"""What to do while Redis is away: wait, warn now and then, try again."""

from __future__ import annotations

import itertools
import logging
import random
import threading
import time
from collections.abc import Callable
from functools import cache
from typing import TypeVar

import redis

from django_sidekick.broker import connection
from django_sidekick.broker.connection import Client
from django_sidekick.exceptions import BrokerUnavailable, Fenced

logger = logging.getLogger("sidekick")
T = TypeVar("T")

FIRST_PAUSE_S = 0.02
LONGEST_PAUSE_S = 0.5
WARN_EVERY_S = 5.0

AWAY = (
    redis.ConnectionError,
    redis.TimeoutError,
    redis.exceptions.ReadOnlyError,
    redis.exceptions.OutOfMemoryError,
    redis.exceptions.BusyLoadingError,
)
"""Errors after which the same call may be tried again: it did nothing, or it can be repeated."""

_AWAY_WORDS = ("MISCONF", "NOREPLICAS", "MASTERDOWN", "CLUSTERDOWN", "TRYAGAIN", "BUSY", "LOADING", "OOM")
"""First words of other replies that mean the same: the server is there, but not now."""

REFUSALS = (redis.RedisError,)
"""What passes out of Patience.call() where there is a deadline, beside its own two: Redis is there, and says no."""


def never() -> bool:
    """Return False."""
    return False


def is_fenced(error: redis.RedisError) -> bool:
    """Tell whether a script refused because recovery has taken this process' jobs."""
    return str(error).startswith("FENCED")


def unavailable(where: str, error: Exception) -> BrokerUnavailable:
    """Return what is raised in place of an error of redis-py: a refusal for what the server said, else an absence."""
    if isinstance(error, redis.ResponseError):
        return BrokerUnavailable.refused(error)
    return BrokerUnavailable.away(where, error)


class Absence:
    """What this process says of a server that is away: a WARNING, again at most every 5 s, one more at its return.

    One for all callers: it is back when the last of those who wait has got through, for a server that only
    reads has not come back for those who write. Children of a supervisor leave all of it to the supervisor.
    """

    is_told_by_supervisor = False

    def __init__(self, where: str) -> None:
        self._where = where
        self._waiting: set[int] = set()
        self._since = 0.0
        self._warned_at = float("-inf")
        self._has_warned = False
        self._lock = threading.Lock()

    def missed(self, error: BaseException) -> None:
        """Note that this thread waits for the server; warn if nobody did so of late."""
        now = time.monotonic()
        with self._lock:
            if not self._waiting:
                self._since = now
            self._waiting.add(threading.get_ident())
            if self.is_told_by_supervisor or now - self._warned_at < WARN_EVERY_S:
                return
            self._warned_at = now
            self._has_warned = True
        logger.warning("Redis at %s is away (%s): waiting. Nothing is lost.", self._where, error)

    def met(self) -> None:
        """Note that the server has answered this thread; say so if it was the last that waited."""
        if self._waiting and self._leave():
            away_s = time.monotonic() - self._since
            logger.warning("Redis at %s is back after %.1f s.", self._where, away_s)

    def given_up(self) -> None:
        """Note that this thread waits no longer."""
        with self._lock:
            self._waiting.discard(threading.get_ident())

    def _leave(self) -> bool:
        """Take this thread from those who wait. Return True if now somebody has to say that the server is back."""
        with self._lock:
            self._waiting.discard(threading.get_ident())
            if self._waiting or not self._has_warned:
                return False
            self._has_warned = False
            return True


absence_of = cache(Absence)
"""Return this process' only one for a server, by its place."""


class Patience:
    """Repeat calls until Redis answers. What is said of it meanwhile is Absence's.

    A call that succeeds at its second attempt warns of nothing: it has only met a connection that was cut.
    """

    def __init__(self, client: Client) -> None:
        self._where = connection.place(client)
        self.absence = absence_of(self._where)
        self._client = client
        self._end_at = float("inf")
        self.troubles = 0
        """How often the server was away: what answers afterwards may be another one, or have older data."""
        self.is_pointless: Callable[[], bool] = never
        """Asked at each pause: whether to fail at once, as after give_up()."""

    def give_up(self, after_s: float = 0.0) -> None:
        """Let every waiting and later call fail when Redis is still away then: the process ends.

        Safe in a signal handler.
        """
        self._end_at = time.monotonic() + after_s

    def call(self, action: Callable[[], T], *, deadline: float | None = None) -> T:
        """Return what `action` returns, repeated while Redis is away; it must be safe to repeat.

        `deadline` is a time.monotonic(). After it, or after give_up(), raise BrokerUnavailable with the cause.
        Raise Fenced if the script said so. Other errors of Redis pass where there is a deadline: the caller is
        told. A worker has none: it waits and warns, for whatever the server objects to, the jobs are there.
        """
        pause_s = FIRST_PAUSE_S
        for attempt in itertools.count(1):
            try:
                answer = action()
            except AWAY as error:
                if self._started_server(error):
                    continue
                self.troubles += 1
                connection.leave_demoted(self._client, error)
                self._wait(error, pause_s, deadline, attempt)
                pause_s = min(pause_s * 2, LONGEST_PAUSE_S)
            except redis.RedisError as error:
                if is_fenced(error):
                    self.absence.met()
                    raise Fenced from error
                if deadline is not None and not str(error).startswith(_AWAY_WORDS):
                    raise
                self._wait(error, LONGEST_PAUSE_S, deadline, attempt)
            else:
                if deadline is None:
                    self.absence.met()
                return answer
        raise AssertionError("unreachable")

    def _started_server(self, error: Exception) -> bool:
        refused = isinstance(error.__cause__ or error.__context__, ConnectionRefusedError)
        return refused and connection.start_embedded(self._client, self._is_over)

    def _is_over(self) -> bool:
        return time.monotonic() >= self._end_at or self.is_pointless()

    def _wait(self, error: Exception, pause_s: float, deadline: float | None, attempt: int) -> None:
        """Sleep before the next attempt; after the first one of a caller without a deadline, warn."""
        pause_s *= random.uniform(0.8, 1.2)
        end_at = self._end_at if deadline is None else min(self._end_at, deadline)
        is_over = time.monotonic() + pause_s >= end_at or self.is_pointless()
        if deadline is None and (attempt > 1 or is_over):
            self.absence.missed(error)
        if is_over:
            if deadline is None:
                self.absence.given_up()
            raise unavailable(self._where, error) from error
        time.sleep(pause_s)
