"""One large push in several calls: none of them keeps Redis from others for long."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence

from django_sidekick.broker.broker import Broker, Push
from django_sidekick.jobs.mirrored import push_events

SLICE = 1000
"""Jobs in one call, which is one round trip."""


def push_in_slices(broker: Broker, pushes: Sequence[Push], *, within_s: float | None = None) -> Iterator[int]:
    """Push slice by slice, each once or not at all; yield after each how many jobs are pushed by now.

    `within_s`: how long each may take while Redis is away; None for ENQUEUE_TIMEOUT.

    Raise what Broker.push() raises: what was yielded last is pushed, the next slice perhaps, the others are not.
    """
    for first in range(0, len(pushes), SLICE):
        some = pushes[first : first + SLICE]
        events = push_events(broker.settings, some)
        broker.push(some, deadline=None if within_s is None else time.monotonic() + within_s, events=events)
        yield first + len(some)
