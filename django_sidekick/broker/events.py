"""The stream of events, as its reader sees it."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from typing import NamedTuple

from django_sidekick.broker.broker import run
from django_sidekick.broker.connection import Client
from django_sidekick.broker.keys import Keys

MOST_BLOBS = 20
ENOUGH_BYTES = 2**21
STUCK_FOR_S = 10

Position = tuple[int, int]
"""An entry's id: milliseconds and a number."""

BEGINNING: Position = (0, 0)


class Blob(NamedTuple):
    """What one call has written, and its place in the stream."""

    position: Position
    content: bytes


class Slice(NamedTuple):
    """The first blobs of the stream, and which stream it is: another one after FLUSHALL."""

    generation: str
    blobs: Sequence[Blob]


class EventStream:
    """Read from the beginning, for what has been written is taken out. Raise redis-py's errors; all may be repeated."""

    def __init__(self, client: Client, keys: Keys) -> None:
        self._client = client
        self._keys = keys
        self._most = 1
        self.has_more = False
        """Whether the last read() brought as much as it had asked for: there may be more."""

    def read(self, after: Position = BEGINNING) -> Slice:
        """Return the first blobs after a position: 20 at most, and about 2 MiB, unless one alone is larger.

        One round trip.
        """
        keys, pipeline = self._keys, self._client.pipeline(transaction=False)
        pipeline.set(keys.events_generation, secrets.token_hex(8), nx=True)
        pipeline.get(keys.events_generation)
        pipeline.xrange(keys.events, "({}-{}".format(*after), count=self._most)
        _, generation, entries = pipeline.execute()
        self.has_more = len(entries) == self._most
        blobs = [Blob(position_of(name), fields.get(b"b", b"")) for name, fields in entries]
        size = sum(len(blob.content) for blob in blobs)
        most = ENOUGH_BYTES * len(blobs) // (size + 1)
        self._most = max(1, min(MOST_BLOBS, most, self._most * 4))
        return Slice((generation or b"").decode(), blobs)

    def wait(self, timeout_s: float) -> None:
        """Return when the stream holds anything, or in time."""
        self._client.xread({self._keys.events: "0-0"}, count=1, block=int(timeout_s * 1000))

    def remove(self, blobs: Sequence[Blob], generation: str) -> None:
        """Take out these blobs, which are the stream's first; nothing if it is another stream by now."""
        milliseconds, number = blobs[-1].position
        size = sum(len(blob.content) for blob in blobs)
        keys = [self._keys.events, self._keys.events_bytes, self._keys.events_generation]
        run(self._client, "trim_events", keys, [f"{milliseconds}-{number + 1}", size, generation])

    def is_written(self) -> bool:
        """Tell whether nothing waits for a recorder, or the recorder has said that it cannot write at the moment."""
        pipeline = self._client.pipeline(transaction=False)
        pipeline.xlen(self._keys.events)
        pipeline.exists(self._keys.events_stuck)
        length, is_stuck = pipeline.execute()
        return bool(length == 0 or is_stuck)

    def say_stuck(self, reason: str) -> None:
        """Say for 10 s why nothing is written: who waits for the mirror need not wait."""
        self._client.set(self._keys.events_stuck, reason, ex=STUCK_FOR_S)

    def say_unstuck(self) -> None:
        """Take it back."""
        self._client.delete(self._keys.events_stuck)


def position_of(name: bytes) -> Position:
    """Return an entry's id as numbers, which can be compared."""
    milliseconds, _, number = name.partition(b"-")
    return int(milliseconds), int(number)
