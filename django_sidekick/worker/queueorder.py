"""In which order queues are asked: strict as written, or by weight, shuffled anew for each fetch."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence

Order = Sequence[int]


def next_order_of(queues: Sequence[tuple[str, int]]) -> Callable[[], Order]:
    """Return a function that returns the queues' indexes in the order in which the next fetch asks them.

    All weights 0 is strict: always as written. Otherwise each name stands in a hat as often as its weight
    says; the order is that of drawing them (Sidekiq's weighted and random modes).
    """
    strict = tuple(range(len(queues)))
    if not any(weight for _, weight in queues):
        return lambda: strict
    hat = [index for index, (_, weight) in enumerate(queues) for _ in range(max(weight, 1))]

    def draw() -> Order:
        random.shuffle(hat)
        return tuple(dict.fromkeys(hat))

    return draw


def mode(queues: Sequence[tuple[str, int]]) -> str:
    """Return Sidekiq's word for it: strict, weighted or random."""
    weights = {weight for _, weight in queues}
    if weights <= {0}:
        return "strict"
    return "random" if weights == {1} else "weighted"
