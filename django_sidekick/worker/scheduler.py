"""Moving jobs whose time has come to their queues."""

from __future__ import annotations

from django_sidekick.broker.due import DueJobs, DueWatch
from django_sidekick.broker.patience import Patience

REST_S = 0.001


class Scheduler:
    """Move what is due; then sleep until the next job's time, or until somebody adds a nearer one.

    Every process runs one: each move is one step in Redis, so they cannot get in each other's way, and no
    leader's death delays a job. A slice of 100, a rest, the next: Redis is never held for more than about 1 ms.
    """

    def __init__(self, jobs: DueJobs, watch: DueWatch, patience: Patience) -> None:
        self._jobs = jobs
        self._watch = watch
        self._patience = patience

    def turn(self) -> float:
        """Move one slice, or sleep. Return the seconds to rest before the next turn."""
        if self._patience.call(self._jobs.enqueue_due):
            return REST_S
        self._patience.call(self._watch.wait)
        return 0.0
