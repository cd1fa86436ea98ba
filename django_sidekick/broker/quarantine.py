"""The queues in which suspects wait: jobs during which their process has died twice."""

from __future__ import annotations

from collections.abc import Sequence

from django_sidekick.broker.connection import Client, replies
from django_sidekick.broker.keys import Keys

_SUFFIX = ":quarantine"


def quarantine_of(queue: str) -> str:
    """Return the name of the queue in which the suspects of a queue wait. Sidekiq's pages show it like any other."""
    return queue + _SUFFIX


def home_of(queue: str) -> str:
    """Return the name of the queue that a job came from, if this is a quarantine; else the name itself."""
    return queue.removesuffix(_SUFFIX)


class Quarantine:
    """The suspects of some queues."""

    def __init__(self, client: Client, keys: Keys, queues: Sequence[str]) -> None:
        self._client = client
        self._keys = keys
        self._queues = list(queues)

    def is_needed(self) -> bool:
        """Tell whether a suspect waits that may run: neither its queue nor its quarantine is paused. One round trip."""
        pipeline = self._client.pipeline(transaction=False)
        pipeline.smembers(self._keys.paused)
        for name in self._queues:
            pipeline.llen(self._keys.queue(quarantine_of(name)))
        paused, *lengths = replies(pipeline)
        return any(
            length and not {name.encode(), quarantine_of(name).encode()} & (paused or set())
            for name, length in zip(self._queues, lengths, strict=True)
        )
