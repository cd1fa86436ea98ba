"""Counts of one thread's runs, in Sidekiq's buckets; summed and written by the heartbeat."""

from __future__ import annotations

from bisect import bisect_right

from django_sidekick.exceptions import UnknownJob
from django_sidekick.wire.outcome import Outcome

BUCKETS_MS = (
    20, 30, 45, 65, 100, 150, 225, 335, 500, 750, 1100, 1700, 2500, 3800, 5750, 8500, 13000,
    20000, 30000, 45000, 65000, 100000, 150000, 225000, 335000,
)  # fmt: skip
"""Upper bounds of the first 25 histogram buckets, exclusive; the 26th has none (studies/sidekiq.md 1.7)."""

_BOUNDS_S = tuple(bound / 1000 for bound in BUCKETS_MS)


class ClassTally:
    """Runs of one job class: how many, how many failed, how long the good ones took."""

    __slots__ = ("failed", "histogram", "processed", "run_time_s")

    def __init__(self) -> None:
        self.processed = 0
        self.failed = 0
        self.run_time_s = 0.0
        self.histogram = [0] * (len(BUCKETS_MS) + 1)

    def values(self) -> list[float]:
        """Return all counts in one list, to be added or subtracted."""
        return [self.processed, self.failed, self.run_time_s, *self.histogram]


class Tally:
    """What one thread has run since it began. Only that thread writes; counts never go back."""

    __slots__ = ("classes", "failed", "finished", "processed")

    def __init__(self) -> None:
        self.finished = 0
        self.processed = 0
        self.failed = 0
        self.classes: dict[str, ClassTally] = {}

    def count(self, outcome: Outcome) -> None:
        """Count one run. A malformed payload counts nowhere; an unknown class not in the metrics."""
        self.finished += 1
        payload = outcome.payload
        if payload is None or outcome.kind == "released":
            return
        self.processed += 1
        error = outcome.error
        if error is not None:
            self.failed += 1
            if isinstance(error, UnknownJob):
                return
        name = payload.get("wrapped") or payload["class"]
        tally = self.classes.get(name) or self.classes.setdefault(str(name), ClassTally())
        tally.processed += 1
        if error is not None:
            tally.failed += 1
            return
        tally.run_time_s += outcome.duration_s
        tally.histogram[bisect_right(_BOUNDS_S, outcome.duration_s)] += 1


def totals(tallies: list[Tally]) -> tuple[int, int, dict[str, list[float]]]:
    """Return processed, failed, and the counts of each class, summed over threads."""
    classes: dict[str, list[float]] = {}
    for tally in tallies:
        for name, counts in tally.classes.copy().items():
            values = counts.values()
            known = classes.get(name)
            classes[name] = [a + b for a, b in zip(known, values, strict=True)] if known else values
    return (
        sum(tally.processed for tally in tallies),
        sum(tally.failed for tally in tallies),
        classes,
    )
