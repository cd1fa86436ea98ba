"""One large push in several calls: none of them keeps Redis from others for long."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence

from django_sidekick.broker.broker import Broker, Push
from django_sidekick.jobs.mirrored import push_events

SLICE = 1000
SLICE_BYTES = 10_000_000
"""Jobs, and about the bytes of their texts, in one call, which is one round trip: it has to arrive within ENQUEUE_TIMEOUT."""


def push_in_slices(broker: Broker, pushes: Sequence[Push], *, within_s: float | None = None) -> Iterator[int]:
    """Push slice by slice, each once or not at all; yield after each how many jobs are pushed by now.

    `within_s`: how long each may take while Redis is away; None for ENQUEUE_TIMEOUT.

    Raise what Broker.push() raises: what was yielded last is pushed, the next slice perhaps, the others are not.
    """
    first = 0
    while first < len(pushes):
        some = pushes[first : first + SLICE]
        size_bytes = sum(len(text) for _, text, _ in some)
        if size_bytes > SLICE_BYTES:
            some = some[: max(1, SLICE_BYTES * len(some) // size_bytes)]
        events = push_events(broker.settings, some)
        broker.push(some, deadline=None if within_s is None else time.monotonic() + within_s, events=events)
        first += len(some)
        yield first
