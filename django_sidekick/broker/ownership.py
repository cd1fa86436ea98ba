"""What one process holds in Redis: its lease, its in-flight hash, what it fetches, settles and gives back."""

from __future__ import annotations

import os
import secrets
import socket
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from itertools import repeat
from typing import Any

import redis

from django_sidekick.broker import connection, scripts, settling
from django_sidekick.broker.broker import run
from django_sidekick.broker.connection import Client, DirectConnection
from django_sidekick.broker.keys import Keys
from django_sidekick.broker.patience import Patience, is_fenced
from django_sidekick.broker.recovery import ENDS, GOES_ON, LEASE_S, REMEMBER_S, SLICE
from django_sidekick.broker.waiting import BLOCK_S, QueueWait
from django_sidekick.conf import MOST_QUEUES, Settings
from django_sidekick.exceptions import Fenced
from django_sidekick.wire.outcome import Delivery, Outcome, queue_index

RENEW_EVERY_S = 5
THROTTLED_S = 0.02
"""How long a worker waits for the recorder before it looks again."""
_new_delivery: Callable[[tuple[int, str, bytes]], Delivery] = partial(tuple.__new__, Delivery)
"""Delivery's own __new__ takes three times as long: once a job."""


def new_identity() -> str:
    """Return Sidekiq's name of a process: host:pid:nonce, the nonce of 12 hex digits new at each call."""
    host = os.environ.get("DYNO") or socket.gethostname()
    return f"{host}:{os.getpid()}:{secrets.token_hex(6)}"


class Ownership:
    """The jobs of one process. Every script first checks that they were not taken over; else raise Fenced.

    Calls are repeated for as long as Redis is away, and a repeated call changes nothing.
    Three connections whatever the number of threads: the leader's, the wait's, and one for all else.
    """

    def __init__(self, settings: Settings, queues: Sequence[str]) -> None:
        self.settings = settings
        self.keys = Keys(settings.key_prefix)
        self.queues = tuple(queues)
        self.client = connection.worker_client(settings)
        self.leader = DirectConnection(connection.worker_client(settings))
        self.patience = Patience(self.client)
        self.sequence = 0
        self.oldest_tag = 0
        self._paused: frozenset[int] = frozenset()
        self._is_throttled = False
        self.on_new_identity: Callable[[str], None] = _nobody
        """Told of a new identity before anything is held under it. Any thread may call."""
        self._enter(new_identity())

    def _enter(self, identity: str) -> None:
        self.identity = identity
        self.inflight = self.keys.inflight(identity)
        self._queue_keys = [self.keys.queue(name) for name in self.queues]
        self._wake_keys = [self.keys.wake(identity, name) for name in self.queues]
        self.wait = QueueWait(self.settings, self._queue_keys, self._wake_keys)

    def register(self) -> None:
        """Write lease and queues, before the first fetch. Safe to repeat."""
        self._register(self.identity)

    def _register(self, identity: str) -> None:
        words = [identity, LEASE_S, "\n".join(self.queues)]
        self._run(self.client, "register", [self.keys.owners, self.keys.inflight(identity)], words)

    def start_over(self) -> None:
        """Take a new identity after a fence. Jobs of the old one are not settled any more.

        Tags go on counting, so that a job that is still running cannot settle one of the new hash. What a wait of the old
        name puts aside is returned, then or by whoever sweeps; also where Redis knows that name no more, because it was
        emptied or has older data: then the name is made known once again.
        """
        self.oldest_tag = (self.sequence + 1) * MOST_QUEUES
        old, keys = self.identity, self._recovery_keys()
        words = [old, *SLICE, GOES_ON, REMEMBER_S]
        self._enter(new_identity())
        self.on_new_identity(self.identity)
        self.register()
        known, _ = self._run(self.client, "recover", keys, words)
        if known < 0:
            self._register(old)
            self._run(self.client, "recover", keys, words)

    def renew(self) -> None:
        """Extend the lease by 15 s of Redis' clock. Raise Fenced if the jobs were taken over."""
        self._run(self.client, "renew", [self.keys.owners, self.inflight], [self.identity, LEASE_S])

    def fetch(
        self, order: Sequence[int], wanted: int, finished: Sequence[Outcome], events: bytes = b"", identity: str = ""
    ) -> list[Delivery]:
        """Settle what is finished and take at most `wanted` jobs, queues by index in this order: one round trip.

        More may come than wanted: what a wait has put aside is always adopted. A reply that is lost is
        repeated by the next call. Only the leader may call this. Raise Fenced, and take nothing, if `identity` is ours no
        more: what is taken would be another's.
        """
        keys = self._fetch_keys(order, identity)
        words: list[Any] = [self.sequence, wanted, len(order), int(self.wait.may_have_woken), *order]
        words += settling.words_of(finished, events, self.settings, self.keys, keys)
        reply = self._run(self.leader, "fetch", keys, words)
        self.wait.settled()
        return self._batch(reply)

    def wait_for_work(self, order: Sequence[int], timeout_s: float = BLOCK_S, identity: str = "") -> list[Delivery]:
        """Return the job of the first of these queues that has one, or nothing in time: one round trip. Leader only.

        Queues that the last fetch found paused are not waited for: it finds out when they go on. Where several
        have one at once, or a reply was lost, a fetch brings the others. `identity` as in fetch().
        """
        indexes = [index for index in order if index not in self._paused]
        if self._is_throttled:
            timeout_s = min(timeout_s, THROTTLED_S)
        answers = self.patience.call(
            lambda: self.wait.wait(indexes, timeout_s, partial(self._adoption, identity=identity))
        )
        refused = [answer.reply for answer in answers if isinstance(answer.reply, redis.ResponseError)]
        if any(map(is_fenced, refused)):
            raise Fenced from refused[0]
        missed = [answer for answer in answers if answer.reply is None or answer.reply in refused]
        batch = [job for answer in answers if answer not in missed for job in self._batch(answer.reply)]
        if missed and not batch:  # taken under this number by a wait whose reply was lost, or refused for the moment
            self.wait.is_in_doubt()
        if any(answer.moved is not None or not batch for answer in missed):
            batch += self.fetch(order, 0, [], identity=identity)
            rank = {index: number for number, index in enumerate(order)}
            batch.sort(key=lambda delivery: rank.get(queue_index(delivery.tag), len(rank)))
        elif answers:
            self.wait.settled()
        return batch

    def return_woken(self) -> None:
        """Put what a wait has set aside back to the front of its queue: nothing will be fetched any more."""
        self.wait.may_have_woken = True
        while woken := self.fetch(range(len(self.queues)), 0, []):
            self.wait.may_have_woken = True
            self.give_back(woken)

    def _adoption(self, index: int, identity: str = "") -> list[Any]:
        """Return the command that adopts what a wait for this queue has put aside, unless another's has come first."""
        keys = self._fetch_keys([index], identity)
        words: list[Any] = [self.sequence, 0, 1, "once", index]
        words += settling.words_of([], b"", self.settings, self.keys, keys)
        return ["EVALSHA", scripts.load("fetch").sha, len(keys), *keys, *words]

    def _fetch_keys(self, order: Sequence[int], identity: str) -> list[str]:
        keys = [self.inflight, self.keys.events, self.keys.paused, self.keys.dead]
        keys += [self._queue_keys[index] for index in order]
        keys += [self._wake_keys[index] for index in order]
        if identity and identity != self.identity:  # asked last: a new identity changes it first, then the keys
            raise Fenced
        return keys

    def acknowledge(self, finished: Sequence[Outcome], events: bytes = b"") -> int:
        """Settle finished jobs without fetching: one round trip. Return how many were still held."""
        keys = [self.inflight, self.keys.events]
        words = settling.words_of(finished, events, self.settings, self.keys, keys)
        return int(self._run(self.client, "acknowledge", keys, words))

    def give_back(self, deliveries: Sequence[Delivery]) -> int:
        """Return jobs to the front of their queues, in their old order. Return how many were still held."""
        tags = sorted((delivery.tag for delivery in deliveries), reverse=True)
        return int(self._run(self.client, "give_back", [self.inflight, self.keys.dead, *self._queue_keys], tags))

    def held_tags(self) -> set[int]:
        """Return the tags of all that Redis holds for us."""
        fields = self.patience.call(lambda: self.client.hkeys(self.inflight))
        return {int(field) for field in fields if field.isdigit()}

    def held(self, tags: Iterable[int]) -> list[Delivery]:
        """Return what Redis holds for us under these tags."""
        asked = list(tags)
        payloads = self.patience.call(lambda: self.client.hmget(self.inflight, asked))
        found = zip(asked, payloads, strict=True)
        return [Delivery(tag, self.queues[queue_index(tag)], raw) for tag, raw in found if raw is not None]

    def leave(self) -> int:
        """Return all that is still held and end the ownership. Return the number of jobs returned.

        It is forgotten at once only if the server serves no wait of it any more; else others sweep once more.
        """
        total, more, keys = 0, True, self._recovery_keys()
        while more:
            why = GOES_ON if self.wait.may_be_served else ENDS
            words = [self.identity, *SLICE, why, REMEMBER_S]
            count, more = self._run(self.client, "recover", keys, words)
            total += max(count, 0)
        return total

    def _recovery_keys(self) -> list[str]:
        keys = [self.keys.owners, self.inflight, self.keys.dead]
        return keys + self._queue_keys + self._wake_keys

    def close(self) -> None:
        """Close the connections."""
        self.wait.close()
        self.leader.close()
        self.client.close()

    def _run(self, client: Client | DirectConnection, name: str, keys: list[str], words: list[Any]) -> Any:
        return self.patience.call(lambda: run(client, name, keys, words))

    def _batch(self, reply: list[bytes]) -> list[Delivery]:
        if not reply:
            self._paused, self._is_throttled = frozenset(), False
            return []
        taken, _, paused = reply[0].partition(b"|")
        self._is_throttled = paused == b"*"
        if self._is_throttled:
            self._paused = frozenset(range(len(self.queues)))
            return []
        self._paused = frozenset(map(int, paused.split(b","))) if paused else frozenset()
        return self._deliveries(taken, reply) if taken else []

    def _deliveries(self, taken: bytes, reply: list[bytes]) -> list[Delivery]:
        deliveries: list[Delivery] = []
        sequence, at = self.sequence, 1
        for part in taken.split(b","):
            index, count = map(int, part.split(b":"))
            first, queue = (sequence + 1) * MOST_QUEUES + index, self.queues[index]
            tags = range(first, first + count * MOST_QUEUES, MOST_QUEUES)
            deliveries += map(_new_delivery, zip(tags, repeat(queue), reply[at : at + count]))
            sequence += count
            at += count
        self.sequence = sequence
        return deliveries


def _nobody(identity: str) -> None:
    """Listen to nothing."""
