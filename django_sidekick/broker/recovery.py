"""Finding processes whose lease is over, and returning what they held."""

from __future__ import annotations

from typing import Any, NamedTuple

from django_sidekick.broker.broker import run
from django_sidekick.broker.connection import Client
from django_sidekick.broker.keys import Keys

SLICE = 1000
REMEMBER_S = 10


class Recovered(NamedTuple):
    """One slice: whose, how many jobs, and whether more are left."""

    identity: str
    jobs: int
    more: bool


class OwnerRegister:
    """The processes that hold jobs, alive or dead, as `sk:owners` knows them."""

    def __init__(self, client: Client, keys: Keys) -> None:
        self._client = client
        self._keys = keys

    def overdue(self) -> list[str]:
        """Return identities whose lease is over by Redis' clock, longest first."""
        seconds, microseconds = self._client.time()
        now = seconds + microseconds / 1_000_000
        found = self._client.zrangebyscore(self._keys.owners, "-inf", repr(now), start=0, num=100)
        return [identity.decode(errors="replace") for identity in found]

    def recover(self, identity: str) -> Recovered:
        """Return a slice of its jobs to the front of their queues. Two workers may do so at once.

        Nothing happens while its lease runs. Repeat while `more`. One round trip after the one that reads
        which queues it served.
        """
        queues = self.queues_of(identity)
        keys = [self._keys.owners, self._keys.inflight(identity)]
        keys += [self._keys.queue(name) for name in queues]
        keys += [self._keys.wake(identity, name) for name in queues]
        reply: Any = run(self._client, "recover", keys, [identity, SLICE, 0, REMEMBER_S])
        return Recovered(identity, int(reply[0]), bool(reply[1]))

    def queues_of(self, identity: str) -> list[str]:
        """Return the names of the queues that a process reads, by index."""
        names = self._client.hget(self._keys.inflight(identity), "queues") or b""
        return names.decode(errors="surrogateescape").split("\n") if names else []

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
