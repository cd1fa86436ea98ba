"""How much there is to do now for one worker's queues."""

from __future__ import annotations

import time
from collections.abc import Sequence

from django_sidekick.broker.connection import Client, replies
from django_sidekick.broker.keys import Keys


class Backlog:
    """The jobs waiting in some queues, and those that are due."""

    def __init__(self, client: Client, keys: Keys, queues: Sequence[str]) -> None:
        self._client = client
        self._keys = keys
        self._queues = list(queues)

    def size(self) -> int:
        """Return the number of jobs in these queues plus those due in schedule and retry. One round trip.

        What waits in a paused queue is not to be done now; nothing waits in a key of another type.
        """
        now = repr(time.time())
        pipeline = self._client.pipeline(transaction=True)
        for name in self._queues:
            pipeline.llen(self._keys.queue(name))
        pipeline.zcount(self._keys.schedule, "-inf", now)
        pipeline.zcount(self._keys.retry, "-inf", now)
        pipeline.smembers(self._keys.paused)
        *lengths, scheduled, retried, paused = replies(pipeline)
        waiting = zip(self._queues, lengths, strict=True)
        to_do = sum(length or 0 for name, length in waiting if name.encode() not in (paused or ()))
        return int((scheduled or 0) + (retried or 0) + to_do)
