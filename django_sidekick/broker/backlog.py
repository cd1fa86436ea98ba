"""How much there is to do now for one worker's queues."""

from __future__ import annotations

import time
from collections.abc import Sequence

from django_sidekick.broker.connection import Client
from django_sidekick.broker.keys import Keys


class Backlog:
    """The jobs waiting in some queues, and those that are due."""

    def __init__(self, client: Client, keys: Keys, queues: Sequence[str]) -> None:
        self._client = client
        self._keys = keys
        self._queues = [keys.queue(name) for name in queues]

    def size(self) -> int:
        """Return the number of jobs in these queues plus those due in schedule and retry. One round trip."""
        now = repr(time.time())
        pipeline = self._client.pipeline(transaction=True)
        for queue in self._queues:
            pipeline.llen(queue)
        pipeline.zcount(self._keys.schedule, "-inf", now)
        pipeline.zcount(self._keys.retry, "-inf", now)
        return int(sum(pipeline.execute()))
