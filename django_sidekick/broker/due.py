"""Jobs whose time comes: moving them to their queues, and sleeping until the next one without missing a nearer."""

from __future__ import annotations

import logging
import selectors
import socket
import time
from collections.abc import Sequence
from functools import partial
from typing import Any

import redis

from django_sidekick.broker import burial, connection
from django_sidekick.broker.broker import run
from django_sidekick.broker.connection import Client
from django_sidekick.broker.keys import Keys
from django_sidekick.broker.moving import Move, Mover, Source
from django_sidekick.broker.waiting import Selector
from django_sidekick.conf import Settings
from django_sidekick.wire.payload import timestamp, wrap_malformed

logger = logging.getLogger("sidekick")

SLICE = 100
SLICE_BYTES = 100_000
PUT_OFF_S = 60
LONGEST_SLEEP_S = 1.0
SLEEP_UNTOLD_S = 0.1
SELECT_TAKES = 1024
TOLD = (b"invalidate", b"message", b"subscribe")
"""How a message begins that is no reply to anything."""


class DueJobs:
    """The schedule and the retry set, served fairly: a slice of one, then a slice of the other."""

    def __init__(self, client: Client, settings: Settings) -> None:
        self._client = client
        self._settings = settings
        self._keys = Keys(settings.key_prefix)

    def enqueue_due(self) -> int:
        """Move at most 100 due jobs of each set to their queues. Return how many: more may be due.

        One step in Redis, of about 1 ms at most; Ruby's pollers may take from the same sets. What is no job, or
        fits into no queue, is buried: JSON that is no object is then wrapped, so that Ruby's pages can show it.
        What fits nowhere is tried again in a minute.
        """
        now_s, names = time.time(), self._keys
        keys = [names.queues, names.dead, names.retry, names.schedule]
        stamp = repr(timestamp(now_s, self._settings.wire_times))
        words: list[Any] = [repr(now_s), SLICE, stamp, names.queue(""), SLICE_BYTES, PUT_OFF_S]
        moved, buried = run(self._client, "enqueue_due", keys, words)
        if buried:
            self._lay_out(buried, now_s)
        return int(moved)

    def _lay_out(self, buried: Sequence[bytes], now_s: float) -> None:
        """Wrap what needs it, in one step, and cut the dead set to its limits. A kill leaves it as it came."""
        dead, times, moves = self._keys.dead, self._settings.wire_times, []
        for raw in buried:
            logger.error("Dead, for it was due and is no job, or the key of its queue is no list: %.200r", raw)
            if wrapped := wrap_malformed(raw, "default", now_s, times):
                moves.append(Move(raw, dead, "zset", wrapped, repr(now_s)))
        Mover(self._settings, self._keys, partial(run, self._client)).move(Source(dead), moves)
        for command, key, words in burial.trimming(self._settings, self._keys, now_s):
            self._client.execute_command(command, key, *words)


class DueWatch:
    """Sleep until the next job is due, or until anyone, Ruby included, puts a nearer one into the sets.

    Redis itself tells of the change (CLIENT TRACKING, on a RESP3 connection of our own). Where it refuses, our
    own pushes tell (PUBLISH), and what others put there is seen within 1 s; without RESP3, the sleeps are 0.1 s.
    """

    def __init__(self, settings: Settings, keys: Keys) -> None:
        self._sets = (keys.schedule, keys.retry)
        self._channel = keys.scheduled
        client = connection.client(settings, socket_timeout_s=5.0, protocol=3)
        self._link: Any = client.connection_pool.make_connection()
        self._longest_s = 0.0
        self._wake, self._waker = socket.socketpair()

    def wait(self) -> bool:
        """Arm; sleep until the next job is due or a change is told. Return True if a job is due.

        Raise redis-py's errors; the connection is then dropped, and the next call makes a new one.
        """
        try:
            remaining_s = self.arm()
            is_told = remaining_s > 0 and self.wait_for_change(remaining_s)
        except BaseException:
            self.close()
            raise
        return not is_told and remaining_s < self._longest_s

    def arm(self) -> float:
        """Return the seconds until the next job is due, at most 1, and have changes told from now on.

        One round trip; both sets are read in one transaction so that no change can fall between them.
        """
        if self._link._sock is None:  # is_connected came with redis-py 5.1
            self._connect()
        for command in (("MULTI",), *(("ZRANGE", s, 0, 0, "WITHSCORES") for s in self._sets), ("EXEC",)):
            self._link.send_command(*command)
        *_, firsts = [self._reply() for _ in range(4)]
        return min([self._longest_s, *(_score(entries) - time.time() for entries in firsts if entries)])

    def wait_for_change(self, timeout_s: float) -> bool:
        """Sleep so long, or until a change is told. Return True for the latter; arm() then reads past it."""
        if self._link.can_read(timeout=0):  # told together with the last reply: the socket is empty by now
            return True
        with self._selector() as selector:
            selector.register(self._link._sock, selectors.EVENT_READ)
            selector.register(self._wake, selectors.EVENT_READ)
            return bool(selector.select(max(timeout_s, 0)))

    def _reply(self) -> Any:
        """Read past what is told: redis-py 5.0 with hiredis hands it out like a reply."""
        while True:
            reply = self._link.read_response()
            if not (isinstance(reply, list) and reply and reply[0] in TOLD):
                return reply

    def _selector(self) -> selectors.BaseSelector:
        """The one that sleeps to the microsecond, where it can: poll and epoll round up to milliseconds."""
        is_small = max(self._link._sock.fileno(), self._wake.fileno()) < SELECT_TAKES
        return selectors.SelectSelector() if is_small else Selector()

    def wake(self) -> None:
        """End a sleep in another thread, for good: the process stops."""
        self._waker.send(b"w")

    def close(self) -> None:
        """Drop the connection; arm() makes a new one."""
        self._link.disconnect()

    def _connect(self) -> None:
        self._link.connect()
        for words in (("CLIENT", "TRACKING", "ON", "NOLOOP"), ("SUBSCRIBE", self._channel)):
            self._link.send_command(*words)
            try:
                self._link.read_response(push_request=True)  # the answer to SUBSCRIBE is told, not replied
            except redis.ResponseError:
                self._longest_s = SLEEP_UNTOLD_S
            else:
                self._longest_s = LONGEST_SLEEP_S
                return


def _score(entries: list[Any]) -> float:
    """The score of the first entry: RESP3 nests the pairs, RESP2 does not."""
    return float(entries[0][1] if isinstance(entries[0], list) else entries[1])
