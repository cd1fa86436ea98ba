"""One large push in several calls: none of them keeps Redis from others for long."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from django_sidekick.broker.broker import Broker, Push
from django_sidekick.jobs.mirrored import push_events

SLICE = 1000
"""Jobs in one call, which is one round trip."""


def push_in_slices(broker: Broker, pushes: Sequence[Push], *, deadline: float | None = None) -> Iterator[int]:
    """Push slice by slice, each once or not at all; yield after each how many jobs are pushed by now.

    Raise what Broker.push() raises: what was yielded last is pushed, the next slice perhaps, the others are not.
    """
    for first in range(0, len(pushes), SLICE):
        some = pushes[first : first + SLICE]
        broker.push(some, deadline=deadline, events=push_events(broker.settings, some))
        yield first + len(some)
