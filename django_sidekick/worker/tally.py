"""Counts of runs, in Sidekiq's buckets; written every few seconds."""

from __future__ import annotations

import threading
from bisect import bisect_right
from collections.abc import Iterable

from django_sidekick.exceptions import Shutdown, UnknownJob
from django_sidekick.wire.outcome import Delivery, Outcome
from django_sidekick.wire.payload import parse, scrub

BUCKETS_MS = (
    20, 30, 45, 65, 100, 150, 225, 335, 500, 750, 1100, 1700, 2500, 3800, 5750, 8500, 13000,
    20000, 30000, 45000, 65000, 100000, 150000, 225000, 335000,
)  # fmt: skip
"""Upper bounds of the first 25 histogram buckets, exclusive; the 26th has none. Source: Sidekiq 8.1."""

_BOUNDS_S = tuple(bound / 1000 for bound in BUCKETS_MS)
_SHORT_S = _BOUNDS_S[0]
PROCESSED, FAILED, RUN_TIME_S, HISTOGRAM = 0, 1, 2, 3
_EMPTY = (0, 0, 0.0, *(0 for _ in range(len(BUCKETS_MS) + 1)))


class Tally:
    """What one process has run since it began; counts never go back.

    `classes`: for each job class processed, failed, run time of the good runs in s, and 26 buckets.
    """

    __slots__ = ("_counting", "classes", "unknown")

    def __init__(self) -> None:
        self.classes: dict[str, list[float]] = {}
        self.unknown = 0
        self._counting = threading.Lock()

    def count(self, outcomes: Iterable[Outcome]) -> None:
        """Count runs. A malformed payload counts nowhere; an unknown class not in the metrics."""
        with self._counting:
            self._count(outcomes)

    def _count(self, outcomes: Iterable[Outcome]) -> None:
        classes = self.classes
        for kind, _, payload, _, duration_s, error, _, _, _ in outcomes:
            if payload is None or kind == "released":
                continue
            if error is not None and isinstance(error, UnknownJob):
                self.unknown += 1
                continue
            name = payload.get("wrapped")
            if type(name) is not str or not name:
                name = payload["class"]
            try:
                counts = classes[name]
            except KeyError:
                counts = classes.setdefault(scrub(name), list(_EMPTY))
            counts[PROCESSED] += 1
            if error is not None:
                counts[FAILED] += 1
                continue
            counts[RUN_TIME_S] += duration_s
            if duration_s < _SHORT_S:
                counts[HISTOGRAM] += 1
            else:
                counts[HISTOGRAM + bisect_right(_BOUNDS_S, duration_s)] += 1

    def count_interrupted(self, deliveries: Iterable[Delivery]) -> None:
        """Count runs that the process' end has cut: processed and failed, as Sidekiq counts them."""
        error = Shutdown()
        self.count(Outcome("failed", delivery, parse(delivery.raw), error=error) for delivery in deliveries)

    def totals(self) -> tuple[int, int, dict[str, list[float]]]:
        """Return processed, failed, and the counts of each class."""
        classes = {name: list(counts) for name, counts in self.classes.copy().items()}
        processed = sum(int(counts[PROCESSED]) for counts in classes.values())
        failed = sum(int(counts[FAILED]) for counts in classes.values())
        return processed + self.unknown, failed + self.unknown, classes
