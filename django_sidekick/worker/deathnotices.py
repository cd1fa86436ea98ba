"""Telling the project's code of jobs that a supervisor sent to the dead set: none of it may run there."""

from __future__ import annotations

from django.db import connections

from django_sidekick.broker import obituaries
from django_sidekick.broker.connection import Client
from django_sidekick.broker.keys import Keys
from django_sidekick.broker.patience import Patience
from django_sidekick.conf import Settings
from django_sidekick.exceptions import ProcessDied
from django_sidekick.jobs.failures import Failures
from django_sidekick.wire.outcome import Delivery

LOOK_EVERY_S = 2.0


class DeathNotices:
    """Has handlers and hooks hear of each such job once, in a thread of its own: one that hangs holds up no other duty."""

    def __init__(self, client: Client, settings: Settings, patience: Patience) -> None:
        self._client = client
        self._keys = Keys(settings.key_prefix)
        self._patience = patience
        self._failures = Failures(settings)

    def turn(self) -> float:
        """Tell of one. Return the seconds until the next time."""
        found = self._patience.call(lambda: obituaries.take(self._client, self._keys))
        if found is None:
            return LOOK_EVERY_S
        try:
            error = ProcessDied(found.identity, found.times)
            self._failures.died(Delivery(0, found.queue, found.raw), error)
        finally:
            connections.close_all()  # this thread's
        return 0.0
