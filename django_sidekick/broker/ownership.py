"""What one process holds in Redis: its lease, its in-flight hash, what it fetches, settles and gives back."""

from __future__ import annotations

import os
import secrets
import socket
from collections.abc import Sequence
from functools import partial
from typing import Any

from django_sidekick.broker import burial, connection
from django_sidekick.broker.broker import run
from django_sidekick.broker.connection import Client
from django_sidekick.broker.keys import Keys
from django_sidekick.broker.patience import Patience
from django_sidekick.broker.waiting import QueueWait
from django_sidekick.conf import Settings
from django_sidekick.wire.outcome import Delivery, FollowUp, Outcome

LEASE_S = 15
RENEW_EVERY_S = 5
MAX_QUEUES = 256
SLICE = 1000
REMEMBER_S = 10
ENDS, GOES_ON = 1, 2
EVENTS_MAX_LENGTH = 100_000
_NOTHING_MOVES = {"done", "failed", "discarded"}


def new_identity() -> str:
    """Return Sidekiq's name of a process: host:pid:nonce, the nonce of 12 hex digits new at each call."""
    host = os.environ.get("DYNO") or socket.gethostname()
    return f"{host}:{os.getpid()}:{secrets.token_hex(6)}"


class Ownership:
    """The jobs of one process. Every script first checks that they were not taken over; else raise Fenced.

    Calls are repeated for as long as Redis is away, and a repeated call changes nothing (DESIGN.md 1.2).
    Three connections whatever the number of threads: the leader's, the wait's, and one for all else.
    """

    def __init__(self, settings: Settings, queues: Sequence[str]) -> None:
        self.settings = settings
        self.keys = Keys(settings.key_prefix)
        self.queues = tuple(queues)
        self.leader = connection.worker_client(settings)
        self.client = connection.worker_client(settings)
        self.patience = Patience(self.client)
        self.sequence = 0
        self.oldest_tag = 0
        self._enter(new_identity())

    def _enter(self, identity: str) -> None:
        self.identity = identity
        self.inflight = self.keys.inflight(identity)
        self._queue_keys = [self.keys.queue(name) for name in self.queues]
        self._wake_keys = [self.keys.wake(identity, name) for name in self.queues]
        self.wait = QueueWait(self.settings, self._queue_keys, self._wake_keys)

    def register(self) -> None:
        """Write lease and queues, before the first fetch. Safe to repeat."""
        words = [self.identity, LEASE_S, "\n".join(self.queues)]
        self._run(self.client, "register", [self.keys.owners, self.inflight], words)

    def start_over(self) -> None:
        """Take a new identity after a fence. Jobs of the old one are not settled any more.

        Tags go on counting, so that a job that is still running cannot settle one of the new hash.
        """
        self.oldest_tag = (self.sequence + 1) * MAX_QUEUES
        old = [self.keys.owners, self.inflight, *self._queue_keys, *self._wake_keys]
        words = [self.identity, SLICE, GOES_ON, REMEMBER_S]
        self._enter(new_identity())
        self.register()
        self._run(self.client, "recover", old, words)

    def renew(self) -> None:
        """Extend the lease by 15 s of Redis' clock. Raise Fenced if the jobs were taken over."""
        self._run(
            self.client, "renew", [self.keys.owners, self.inflight], [self.identity, LEASE_S]
        )

    def fetch(
        self, order: Sequence[int], wanted: int, finished: Sequence[Outcome], events: bytes = b""
    ) -> list[Delivery]:
        """Settle what is finished and take at most `wanted` jobs, queues by index in this order: one round trip.

        More may come than wanted: what a wait has put aside is always adopted. A reply that is lost is
        repeated by the next call. Only the leader may call this.
        """
        keys = [self.inflight, self.keys.events]
        keys += [self._queue_keys[index] for index in order]
        keys += [self._wake_keys[index] for index in order]
        words: list[Any] = [self.sequence, wanted, len(order), int(self.wait.may_have_woken), *order]
        words += self._settling(finished, events, keys)
        reply = self._run(self.leader, "fetch", keys, words)
        self.wait.settled()
        return self._deliveries(reply) if reply else []

    def wait_for_work(self, order: Sequence[int]) -> None:
        """Return when one of these queues had a job (the next fetch brings it), or after 2 s. Leader only."""
        self.patience.call(lambda: self.wait.wait(order))

    def return_woken(self) -> None:
        """Put what a wait has set aside back to the front of its queue: nothing will be fetched any more."""
        for wake, queue in zip(self._wake_keys, self._queue_keys, strict=True):
            give_one = partial(self.client.lmove, wake, queue, "RIGHT", "RIGHT")
            while self.patience.call(give_one):
                pass

    def acknowledge(self, finished: Sequence[Outcome], events: bytes = b"") -> int:
        """Settle finished jobs without fetching: one round trip. Return how many were still held."""
        keys = [self.inflight, self.keys.events]
        words = self._settling(finished, events, keys)
        return int(self._run(self.client, "acknowledge", keys, words))

    def give_back(self, deliveries: Sequence[Delivery]) -> int:
        """Return jobs to the front of their queues, in their old order. Return how many were still held."""
        tags = sorted((delivery.tag for delivery in deliveries), reverse=True)
        return int(
            self._run(self.client, "give_back", [self.inflight, *self._queue_keys], tags)
        )

    def leave(self) -> int:
        """Return all that is still held and end the ownership. Return the number of jobs returned."""
        total, more = 0, True
        keys = [self.keys.owners, self.inflight, *self._queue_keys, *self._wake_keys]
        while more:
            count, more = self._run(self.client, "recover", keys, [self.identity, SLICE, ENDS, 0])
            total += max(count, 0)
        return total

    def close(self) -> None:
        """Close the connections."""
        self.wait.close()
        self.leader.close()
        self.client.close()

    def _run(self, client: Client, name: str, keys: list[str], words: list[Any]) -> Any:
        return self.patience.call(lambda: run(client, name, keys, words))

    def _deliveries(self, reply: list[bytes]) -> list[Delivery]:
        deliveries: list[Delivery] = []
        sequence, at = self.sequence, 1
        for part in reply[0].split(b","):
            index, count = map(int, part.split(b":"))
            tag, queue = (sequence + 1) * MAX_QUEUES + index, self.queues[index]
            for raw in reply[at : at + count]:
                deliveries.append(Delivery(tag, queue, raw))
                tag += MAX_QUEUES
            sequence += count
            at += count
        self.sequence = sequence
        return deliveries

    def _settling(
        self, finished: Sequence[Outcome], events: bytes, keys: list[str]
    ) -> list[Any]:
        plain: list[int] = []
        moved: list[Any] = []
        count = 0
        for outcome in finished:
            if outcome.kind in _NOTHING_MOVES and not outcome.follow_ups:
                plain.append(outcome.delivery.tag)
            else:
                moved += self._move(outcome, keys)
                count += 1
        return [events, EVENTS_MAX_LENGTH, len(plain), *plain, count, *moved]

    def _move(self, outcome: Outcome, keys: list[str]) -> list[Any]:
        commands = [("must", command) for command in self._commands(outcome)]
        commands += [("may", follow_up) for follow_up in outcome.follow_ups]
        words: list[Any] = [outcome.delivery.tag, len(commands)]
        for mode, (command, key, arguments) in commands:
            keys.append(key)
            words += (mode, 2 + len(arguments), command, key, *arguments)
        return words

    def _commands(self, outcome: Outcome) -> list[FollowUp]:
        keys = self.keys
        if outcome.kind == "retry":
            return [FollowUp("ZADD", keys.retry, (repr(outcome.at_s), outcome.member or b""))]
        if outcome.kind == "dead":
            grave = FollowUp("ZADD", keys.dead, (repr(outcome.at_s), outcome.member or b""))
            return [grave, *burial.trimming(self.settings, keys, outcome.at_s)]
        if outcome.kind == "released":
            return [FollowUp("RPUSH", keys.queue(outcome.delivery.queue), (outcome.delivery.raw,))]
        return []
