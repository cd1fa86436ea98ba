"""Counts of one thread's runs, in Sidekiq's buckets; summed and written every few seconds."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence

from django_sidekick.exceptions import Shutdown, UnknownJob
from django_sidekick.wire.outcome import Delivery, Outcome
from django_sidekick.wire.payload import parse

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
    """What one thread has run since it began. Only that thread writes; counts never go back.

    `classes`: for each job class processed, failed, run time of the good runs in s, and 26 buckets.
    """

    __slots__ = ("classes", "unknown")

    def __init__(self) -> None:
        self.classes: dict[str, list[float]] = {}
        self.unknown = 0

    def count(self, outcome: Outcome) -> None:
        """Count one run. A malformed payload counts nowhere; an unknown class not in the metrics."""
        payload, duration_s, error = outcome[2], outcome[4], outcome[5]
        if payload is None or outcome[0] == "released":
            return
        if error is not None and isinstance(error, UnknownJob):
            self.unknown += 1
            return
        name = payload.get("wrapped") or payload["class"]
        try:
            counts = self.classes[name]
        except (KeyError, TypeError):
            counts = self.classes.setdefault(str(name), list(_EMPTY))
        counts[PROCESSED] += 1
        if error is not None:
            counts[FAILED] += 1
            return
        counts[RUN_TIME_S] += duration_s
        if duration_s < _SHORT_S:
            counts[HISTOGRAM] += 1
        else:
            counts[HISTOGRAM + bisect_right(_BOUNDS_S, duration_s)] += 1


def interrupted(deliveries: Sequence[Delivery]) -> Tally:
    """Return the counts of runs that the process' end has cut: processed and failed, as Sidekiq counts them."""
    tally = Tally()
    for delivery in deliveries:
        tally.count(Outcome("failed", delivery, parse(delivery.raw), error=Shutdown()))
    return tally


def totals(tallies: list[Tally]) -> tuple[int, int, dict[str, list[float]]]:
    """Return processed, failed, and the counts of each class, summed over threads."""
    classes: dict[str, list[float]] = {}
    for tally in tallies:
        for name, counts in tally.classes.copy().items():
            known = classes.get(name, _EMPTY)
            classes[name] = [a + b for a, b in zip(known, counts, strict=True)]
    unknown = sum(tally.unknown for tally in tallies)
    processed = sum(int(counts[PROCESSED]) for counts in classes.values())
    failed = sum(int(counts[FAILED]) for counts in classes.values())
    return processed + unknown, failed + unknown, classes
