"""The event that goes with an act: the recorder writes it into the history."""

from __future__ import annotations

from collections.abc import Sequence

from django_sidekick.broker.moving import Move
from django_sidekick.conf import Settings
from django_sidekick.jobs import mirrored
from django_sidekick.wire import event

KINDS = {
    "retry_now": "enqueued",
    "enqueue_now": "enqueued",
    "reschedule": "scheduled",
    "kill": "dead",
    "delete": "discarded",
    "clear": "discarded",
}


def event_of(
    settings: Settings, act: str, moves: Sequence[Move], now_s: float, due_at_s: float | None
) -> bytes:
    """Return the blob for the jobs of one step, at `now_s`, epoch seconds; b"" for none. Pure.

    None is made for what the history does not keep.
    """
    texts = [move.text or move.raw for move in moves]
    told = [text for text in texts if mirrored.is_moved_told(text, settings)]
    return event.encode_moves(KINDS[act], told, now_s, due_at_s)
