"""The event that goes with an act: the recorder writes it into the history."""

from __future__ import annotations

import time
from collections.abc import Sequence

from django_sidekick.broker.events import EventStream
from django_sidekick.broker.look import Look
from django_sidekick.broker.moving import Move
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


def event_of(look: Look, act: str, moves: Sequence[Move], due_at_s: float | None) -> bytes:
    """Return the blob for the jobs of one step; b"" for none.

    None is made for what the history does not keep, and, where its stream is full, for nobody: they are counted.
    """
    texts = [move.text or move.raw for move in moves]
    told = [text for text in texts if mirrored.is_moved_told(text, look.settings)]
    if not told or not EventStream(look.client, look.keys).has_room_for(len(told), look.settings):
        return b""
    return event.encode_moves(KINDS[act], told, time.time(), due_at_s)
