"""The client's side of Redis: pushing jobs, and running a script by its name."""

from __future__ import annotations

import itertools
import os
import secrets
import time
from collections.abc import Callable, Sequence
from functools import cache, partial
from typing import Any, TypeAlias, TypeVar

import redis

from django_sidekick.broker import connection, scripts
from django_sidekick.broker.connection import Client, DirectConnection, DirectPool
from django_sidekick.broker.keys import Keys
from django_sidekick.broker.patience import Patience
from django_sidekick.broker.pushing import push_together, suits
from django_sidekick.broker.settling import stream_bound
from django_sidekick.conf import Settings, get_settings
from django_sidekick.exceptions import BrokerUnavailable

T = TypeVar("T")
Words = Sequence[str | bytes | int | float]


Push: TypeAlias = tuple[str, bytes, float | None]
"""One job on its way out: queue, text, and when it is due, epoch seconds; None sends it to its queue at once.

A plain tuple: of those the collector forgets the ones that hold only texts and numbers.
"""


class Broker:
    """Push jobs and run scripts on one Redis. Safe to share between threads; not over a fork."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.client = connection.client(settings, socket_timeout_s=settings.enqueue_timeout_s)
        self.keys = Keys(settings.key_prefix)
        self.patience = Patience(self.client)
        self._pool = DirectPool(self.client)
        self._token_prefix = secrets.token_hex(8)
        self._token_count = itertools.count()
        self._token_ttl_s = int(settings.enqueue_timeout_s * 2) + 10

    def push(self, jobs: Sequence[Push], *, deadline: float | None = None, events: Sequence[bytes] = ()) -> None:
        """Put the jobs on their queues and into the schedule: all of them or none, each once.

        `events`: blobs that the stream gets in the same step, if it has room.

        One round trip. Many jobs of one queue go in a transaction, which costs what a bare LPUSH costs; what that
        does not do, and every repeat, is the script's. Repeated under one token while Redis is away, until
        `deadline` (a time.monotonic(), default ENQUEUE_TIMEOUT from now); then raise BrokerUnavailable, whose cause
        says why: the push may then have been carried out by a server that could not say so. What Redis refuses for
        good (a queue's key that is no list) raises it at once.
        """
        if deadline is None:
            deadline = self.deadline()
        elif time.monotonic() >= deadline:
            raise BrokerUnavailable("Redis is away: the time of this COMMIT's pushes is over.")
        keys, words = self._push_words(jobs, events)
        attempts = itertools.count()

        def attempt() -> None:
            if suits(keys, words) and next(attempts) == 0 and push_together(self._pool, keys, words):
                return
            run(self._pool, "push", keys, words)

        try:
            self.patience.call(attempt, deadline=deadline)
        except redis.RedisError as error:
            raise BrokerUnavailable.refused(error) from error

    def ask(self, action: Callable[[], T]) -> T:
        """Return what `action` returns, repeated while Redis is away; it must be safe to repeat.

        Raise BrokerUnavailable, with the cause, after ENQUEUE_TIMEOUT, or at once if Redis refuses for good.
        """
        try:
            return self.patience.call(action, deadline=self.deadline())
        except redis.RedisError as error:
            raise BrokerUnavailable.refused(error) from error

    def deadline(self) -> float:
        """Return the time.monotonic() at which a call that begins now has used up ENQUEUE_TIMEOUT."""
        return time.monotonic() + self.settings.enqueue_timeout_s

    def run(self, name: str, keys: Sequence[str], words: Words) -> Any:
        """Run `broker/scripts/NAME.lua` and return its reply. Not repeated: errors of redis-py pass."""
        return run(self.client, name, keys, words)

    def _push_words(self, jobs: Sequence[Push], events: Sequence[bytes] = ()) -> tuple[list[str], list[Any]]:
        token = f"{self._token_prefix}{next(self._token_count):x}"
        keys = [self.keys.push_token(token), self.keys.queues, self.keys.schedule]
        scheduled: list[Any] = []
        by_queue: dict[str, list[bytes]] = {}
        for queue, raw, at_s in jobs:
            if at_s is None:
                by_queue.setdefault(queue, []).append(raw)
            else:
                scheduled += (repr(at_s), raw)
        words = [self._token_ttl_s, self.keys.scheduled, len(scheduled) // 2, *scheduled]
        for queue, payloads in by_queue.items():
            keys.append(self.keys.queue(queue))
            words += (queue, len(payloads), *payloads)
        if events:
            keys += (self.keys.events, self.keys.events_bytes, self.keys.events_dropped)
            words += (stream_bound(self.settings), *events)
        words.append(len(events))
        return keys, words


def run(client: Client | DirectConnection | DirectPool, name: str, keys: Sequence[str], words: Words) -> Any:
    """Run a script by its SHA, sending its text only when the server does not know it. One round trip."""
    script = scripts.load(name)
    execute = (
        client.execute_command
        if isinstance(client, DirectConnection | DirectPool)
        else partial(connection.call, client)
    )
    try:
        return execute("EVALSHA", script.sha, len(keys), *keys, *words)
    except redis.exceptions.NoScriptError:
        return execute("EVAL", script.text, len(keys), *keys, *words)


def get_broker() -> Broker:
    """Return this process' client-side broker for the settings in force. Opens no connection."""
    return _broker(get_settings(), os.getpid())


@cache
def _broker(settings: Settings, pid: int) -> Broker:  # a forked child needs its own
    return Broker(settings)
