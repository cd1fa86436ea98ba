"""Jobs of the crash tests: they take real time."""

from __future__ import annotations

import time

from django_sidekick import BaseJob
from django_sidekick.broker.broker import get_broker


class SleepJob(BaseJob):
    """Take 20 ms, then say so; the saying is repeated when the connection is cut."""

    def perform(self, number: int) -> None:
        time.sleep(0.02)
        broker = get_broker()
        broker.patience.call(lambda: broker.client.rpush("ran", number), deadline=broker.deadline() + 20)

    @staticmethod
    def pause(seconds: float) -> None:
        time.sleep(seconds)
