"""Finding processes whose lease is over, settling for them what they had finished, returning the rest."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from typing import Any, NamedTuple

import redis

from django_sidekick.broker import settling
from django_sidekick.broker.broker import run
from django_sidekick.broker.connection import Client
from django_sidekick.broker.keys import Keys
from django_sidekick.conf import Settings
from django_sidekick.wire.outcome import Outcome

logger = logging.getLogger("sidekick")

LEASE_S = 15
SLICE = (200, 200_000)
"""Jobs, and bytes of jobs, that one call moves at most: about 1 ms of Redis' time."""

REMEMBER_S = 10
OVERDUE, ENDS, GOES_ON = 0, 1, 2
"""Why a process is recovered, for recover.lua: only of one that ends is it known that no wait is open."""

CRASHES_COUNT_FOR_S = 72 * 3600


class Recovered(NamedTuple):
    """One slice: whose, how many jobs, and whether more are left."""

    identity: str
    jobs: int
    more: bool


class OwnerRegister:
    """The processes that hold jobs, alive or dead, as `sk:owners` knows them."""

    def __init__(self, client: Client, settings: Settings) -> None:
        self._client = client
        self._settings = settings
        self._keys = Keys(settings.key_prefix)

    def now_s(self) -> float:
        """Return Redis' clock, epoch seconds."""
        seconds, microseconds = self._client.time()
        return float(seconds + microseconds / 1_000_000)

    def overdue(self, now_s: float) -> list[str]:
        """Return identities whose lease is over at this moment of Redis' clock, longest first."""
        found = self._client.zrangebyscore(self._keys.owners, "-inf", repr(now_s), start=0, num=100)
        return [identity.decode(errors="replace") for identity in found]

    def renew(self, identity: str) -> None:
        """Extend the lease of a process by 15 s of Redis' clock. Raise redis-py's error FENCED if it was recovered."""
        keys = [self._keys.owners, self._keys.inflight(identity)]
        run(self._client, "renew", keys, [identity, LEASE_S])

    def fence(self, identity: str, *, certain: bool = False) -> list[str] | None:
        """Take a dead process' right to settle anything. Return its queues by index.

        None if there is no such owner, or its lease still runs and it is not `certain` that it is dead.
        """
        keys = [self._keys.owners, self._keys.inflight(identity)]
        queues = run(self._client, "fence", keys, [identity, int(certain)])
        return None if queues is None else _names(queues)

    def held(self, identity: str, tags: Sequence[int]) -> dict[int, bytes]:
        """Return what a process holds under these tags."""
        if not tags:
            return {}
        payloads = self._client.hmget(self._keys.inflight(identity), list(tags))
        return {tag: raw for tag, raw in zip(tags, payloads, strict=True) if raw is not None}

    def settle(self, identity: str, outcomes: Sequence[Outcome]) -> int:
        """Settle jobs for a fenced process. Return how many it still held.

        If one of them should go where the key is of another type all stay held, and 0 is returned.
        """
        keys = [self._keys.inflight(identity), self._keys.events]
        words = settling.words_of(outcomes, b"", self._settings, self._keys, keys)
        try:
            return int(run(self._client, "settle_dead", keys, words))
        except redis.ResponseError as error:
            if "WRONGTYPE" not in str(error):
                raise
            logger.error("What %s held can go neither apart nor to the dead: %s", identity, error)
            return 0

    def count_crash(self, job: str, identity: str) -> int:
        """Note that a process died while it ran this job. Return how many did within 72 h; a repeat counts once."""
        key, now_s = self._keys.crashes(job), time.time()
        pipeline = self._client.pipeline(transaction=True)
        pipeline.zadd(key, {identity: now_s})
        pipeline.zremrangebyscore(key, "-inf", repr(now_s - CRASHES_COUNT_FOR_S))
        pipeline.expire(key, CRASHES_COUNT_FOR_S)
        pipeline.zcard(key)
        return int(pipeline.execute()[-1])

    def recover(self, identity: str, *, certain: bool = False) -> Recovered:
        """Return a slice of its jobs to the front of their queues. Two workers may do so at once.

        Nothing happens while its lease runs, unless it is `certain` that it is dead. Repeat while `more`. One
        round trip after the one that reads which queues it served. It is remembered for 10 s: a wait that was
        open when it died may put one more job aside for it, which the next call then returns.
        """
        queues = self.queues_of(identity)
        keys = [self._keys.owners, self._keys.inflight(identity), self._keys.dead]
        keys += [self._keys.queue(name) for name in queues]
        keys += [self._keys.wake(identity, name) for name in queues]
        words: list[Any] = [identity, *SLICE, GOES_ON if certain else OVERDUE, REMEMBER_S]
        reply: Any = run(self._client, "recover", keys, words)
        return Recovered(identity, int(reply[0]), bool(reply[1]))

    def is_known(self, identity: str) -> bool:
        """Tell whether anything may still be held under this name."""
        return self._client.zscore(self._keys.owners, identity) is not None

    def queues_of(self, identity: str) -> list[str]:
        """Return the names of the queues that a process reads, by index."""
        return _names(self._client.hget(self._keys.inflight(identity), "queues") or b"")

    def holders(self) -> dict[str, float]:
        """Return identity -> end of lease of every process that holds jobs now."""
        leases = dict(self._client.zrange(self._keys.owners, 0, -1, withscores=True))
        pipeline = self._client.pipeline(transaction=False)
        for identity in leases:
            pipeline.hlen(self._keys.inflight(identity.decode(errors="replace")))
            pipeline.hexists(self._keys.inflight(identity.decode(errors="replace")), "last")
        sizes = pipeline.execute()
        return {
            identity.decode(errors="replace"): lease
            for (identity, lease), size, last in zip(leases.items(), sizes[::2], sizes[1::2], strict=True)
            if size - int(last) > 2
        }


def _names(lines: bytes) -> list[str]:
    return lines.decode(errors="surrogateescape").split("\n") if lines else []
