"""Moving jobs whose time has come to their queues."""

from __future__ import annotations

import random
import time

from django_sidekick.broker.due import DueJobs, DueWatch
from django_sidekick.broker.leadership import Leadership
from django_sidekick.broker.patience import Patience
from django_sidekick.exceptions import BrokerUnavailable

REST_S = 0.001
FOLLOW_EVERY_S = 1.0


class Scheduler:
    """Move what is due; then sleep until the next job's time, or until somebody adds a nearer one.

    One of all hosts leads, by a lease, and sleeps to the millisecond. The others look once a second, as Ruby's
    pollers do, for the lease and for what is due: a leader's death costs a second, never a job. A slice of 100,
    a rest, the next: Redis is never held for more than about 1 ms.
    """

    def __init__(self, jobs: DueJobs, watch: DueWatch, lease: Leadership, patience: Patience) -> None:
        self._jobs = jobs
        self._watch = watch
        self._lease = lease
        self._patience = patience

    def turn(self) -> float:
        """Move one slice, or sleep. Return the seconds to rest before the next turn."""
        if not self._lease.holds():
            if self._patience.call(self._jobs.enqueue_due):
                return REST_S
            return FOLLOW_EVERY_S * random.uniform(0.5, 1.0)
        if self._is_due() and self._patience.call(self._jobs.enqueue_due):
            return REST_S
        return 0.0

    def _is_due(self) -> bool:
        """Sleep until a job is due or a change is told. A watch that fails is no reason to wait for it.

        Then whatever may be due is moved, and the next turn comes a second later.
        """
        try:
            return self._patience.call(self._watch.wait, deadline=time.monotonic())
        except BrokerUnavailable:
            self._patience.call(self._jobs.enqueue_due)
            raise

    def resign(self) -> None:
        """Let another lead at once; harmless if another does, or Redis is away."""
        self._lease.resign()
