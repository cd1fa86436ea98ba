"""How far the history is behind: what waits for a recorder, what found no place, and why nothing is written."""

from __future__ import annotations

from typing import NamedTuple

from django_sidekick.broker.console import Question
from django_sidekick.broker.keys import Keys
from django_sidekick.broker.replies import count


class Lag(NamedTuple):
    """`batches`: blobs of events that wait, of `size_bytes` together; `dropped`: events that found no place, since ever.

    `stuck`: why no rows can be written at the moment; '' for no reason. `is_led`: some host's recorder is at work.
    """

    batches: int
    size_bytes: int
    dropped: int
    stuck: str
    is_led: bool


def lag(keys: Keys) -> Question:
    """Ask for Lag, in one round trip. A key of an unexpected type says nothing."""
    batches, size_bytes, dropped, stuck, led = yield [
        ("XLEN", keys.events),
        ("GET", keys.events_bytes),
        ("GET", keys.events_dropped),
        ("GET", keys.events_stuck),
        ("EXISTS", keys.recorder),
    ]
    reason = stuck.decode(errors="replace") if isinstance(stuck, bytes) else ""
    return Lag(count(batches), count(size_bytes), count(dropped), reason, bool(count(led)))
