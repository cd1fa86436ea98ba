"""How many jobs the next fetch asks for. Decides only; the intake fetches."""

from __future__ import annotations

import time
from collections.abc import Sequence

from django_sidekick.wire.outcome import Delivery

TARGET_S = 0.01
LARGEST_BATCH = 250
LARGEST_BATCH_BYTES = 1_000_000
HELD_BACK_S = 0.1
REFILL_AHEAD_S = 0.001
SHORTEST_MEASURE_S = 0.0005


class Prefetch:
    """Free places, and as much ahead as will be finished in 10 ms at the present rate.

    Jobs of 100 ms: nothing ahead. No-ops: batches of 250, or of 1 MB. `low_water`: with so few left in the
    buffer, a thread may fetch while the others go on; 0 while one does, and when nothing is fetched ahead.
    """

    def __init__(self) -> None:
        self.low_water = 0
        self._next_low_water = 0
        self._rate_per_s = 0.0
        self._measured = (0, time.monotonic())
        self._not_before = 0.0
        self._largest_batch = LARGEST_BATCH
        self._ahead_until = float("inf")

    def stop_after(self, jobs: int) -> None:
        """Ask for nothing ahead once so many are finished: the process is to be replaced then."""
        self._ahead_until = jobs

    def wanted(self, free: int, done: int) -> int:
        """Return how many to ask for, at least 1. `done`: jobs finished since the process began."""
        now = time.monotonic()
        before, then = self._measured
        if now - then > SHORTEST_MEASURE_S:
            self._rate_per_s = (self._rate_per_s + (done - before) / (now - then)) / 2
            self._measured = (done, now)
        ahead = min(self._rate_per_s * TARGET_S, self._ahead_until - done)
        ahead = 0 if now < self._not_before else max(0, int(ahead))
        wanted = min(self._largest_batch, max(1, free + ahead))
        self.low_water = 0
        self._next_low_water = min(wanted // 2, int(self._rate_per_s * REFILL_AHEAD_S)) if ahead else 0
        return wanted

    def hold_back(self) -> None:
        """Ask for nothing ahead for 100 ms: what was fetched ahead had to be given back."""
        self._not_before = time.monotonic() + HELD_BACK_S
        self._rate_per_s = 0.0

    def weigh(self, deliveries: Sequence[Delivery]) -> None:
        """Bound the next batch to 1 MB, by the size of these jobs, which have come."""
        self.low_water = self._next_low_water
        sample = deliveries[:: len(deliveries) // 10 + 1]
        mean = sum(len(delivery.raw) for delivery in sample) / len(sample)
        self._largest_batch = max(1, min(LARGEST_BATCH, int(LARGEST_BATCH_BYTES / (mean + 1))))
