"""What to do while Redis is away: wait, warn now and then, try again."""

from __future__ import annotations

import itertools
import logging
import random
import time
from collections.abc import Callable
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


def is_fenced(error: redis.RedisError) -> bool:
    """Tell whether a script refused because recovery has taken this process' jobs."""
    return str(error).startswith("FENCED")


class Patience:
    """Repeat calls until Redis answers. One warning for all callers, at most every 5 s.

    A call that succeeds at its second attempt warns of nothing: it has only met a connection that was cut.
    """

    def __init__(self, client: Client) -> None:
        self.host, self.port = connection.location(client)
        self._client = client
        self._end_at = float("inf")
        self._away_since: float | None = None
        self._warned_at = float("-inf")

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
                self._wait(error, pause_s, deadline)
                self._warn_of(error, deadline, attempt)
                pause_s = min(pause_s * 2, LONGEST_PAUSE_S)
            except redis.RedisError as error:
                if is_fenced(error):
                    raise Fenced from error
                if deadline is not None and not str(error).startswith(_AWAY_WORDS):
                    raise
                self._wait(error, LONGEST_PAUSE_S, deadline)
                self._warn_of(error, deadline, attempt)
            else:
                self._back()
                return answer
        raise AssertionError("unreachable")

    def _started_server(self, error: Exception) -> bool:
        refused = isinstance(error.__cause__ or error.__context__, ConnectionRefusedError)
        return refused and connection.start_embedded(self._client)

    def _wait(self, error: Exception, pause_s: float, deadline: float | None) -> None:
        pause_s *= random.uniform(0.8, 1.2)
        end_at = self._end_at if deadline is None else min(self._end_at, deadline)
        if time.monotonic() + pause_s >= end_at:
            raise BrokerUnavailable(f"Redis at {self.host}:{self.port} is away: {error}") from error
        time.sleep(pause_s)

    def _warn_of(self, error: Exception, deadline: float | None, attempt: int) -> None:
        now = time.monotonic()
        if deadline is not None or attempt < 2:
            return
        if now - self._warned_at >= WARN_EVERY_S:
            self._away_since = self._away_since or now
            self._warned_at = now
            logger.warning(
                "Redis at %s:%s is away (%s): waiting. Nothing is lost.", self.host, self.port, error
            )

    def _back(self) -> None:
        if self._away_since is not None:
            away_s = time.monotonic() - self._away_since
            self._away_since = None
            logger.warning("Redis at %s:%s is back after %.1f s.", self.host, self.port, away_s)
