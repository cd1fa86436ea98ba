"""Which of all hosts does what only one should do: a lease in Redis."""

from __future__ import annotations

import time

from django_sidekick.broker.broker import run
from django_sidekick.broker.connection import Client
from django_sidekick.broker.patience import Patience
from django_sidekick.exceptions import BrokerUnavailable

LEASE_S = 6.0


class Leadership:
    """One key, one leader: it lasts 6 s and is renewed every 2 s. Two for a moment must do no harm."""

    def __init__(self, client: Client, key: str, name: str, patience: Patience) -> None:
        self._client = client
        self._key = key
        self._name = name
        self._patience = patience
        self._leads_until = float("-inf")

    def holds(self) -> bool:
        """Take or renew it. Return False if another has it. A round trip every 2 s."""
        now = time.monotonic()
        if now < self._leads_until:
            return True
        self._leads_until = float("-inf")
        if self._patience.call(lambda: run(self._client, "lead", [self._key], [self._name, int(LEASE_S * 1000)])):
            self._leads_until = now + LEASE_S / 3
            return True
        return False

    def resign(self) -> None:
        """Let another lead at once; harmless if another does, or Redis is away."""
        self._leads_until = float("-inf")
        try:
            self._patience.call(
                lambda: run(self._client, "resign", [self._key], [self._name]), deadline=time.monotonic()
            )
        except BrokerUnavailable:
            return
