"""What a person or a program does to jobs by hand, and the event that goes with it: the recorder writes it down."""

from __future__ import annotations

import time
from collections.abc import Sequence

from django_sidekick.broker.broker import Broker
from django_sidekick.broker.console import Console
from django_sidekick.broker.inspector import Inspector
from django_sidekick.broker.keys import Keys
from django_sidekick.broker.moving import Move
from django_sidekick.conf import Settings
from django_sidekick.jobs import mirrored
from django_sidekick.wire import codec, event

KINDS = {
    "retry_now": "enqueued",
    "enqueue_now": "enqueued",
    "reschedule": "scheduled",
    "kill": "dead",
    "delete": "discarded",
    "clear": "discarded",
}


def event_of(settings: Settings, act: str, moves: Sequence[Move], now_s: float, due_at_s: float | None) -> bytes:
    """Return the blob for the jobs of one step, at `now_s`, epoch seconds; b"" for none. Pure.

    None is made for what the history does not keep.
    """
    texts = [move.text or move.raw for move in moves]
    kept = [text for text in texts if mirrored.is_move_kept(text, settings)]
    stays_a_retry = act == "reschedule" and any(move.key == Keys(settings.key_prefix).retry for move in moves)
    kind = "retry" if stays_a_retry else KINDS[act]
    hidden = {text: names for text in kept if (names := mirrored.hidden_of(codec.loads(text)))}
    return event.encode_moves(kind, kept, now_s, due_at_s, hidden)


def inspector_for(
    broker: Broker | Console, act: str, due_at_s: float | None = None, now_s: float | None = None
) -> Inspector:
    """Return an Inspector that does one kind of act to single jobs, each with its event, at `now_s` or when it is done."""

    def told(moves: Sequence[Move]) -> bytes:
        at_s = time.time() if now_s is None else now_s
        return event_of(broker.settings, act, moves, at_s, due_at_s)

    return Inspector(broker, told)
