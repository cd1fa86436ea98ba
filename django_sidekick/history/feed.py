"""The stream, read ahead: while one transaction is written, the rows of the next are made in another thread."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from itertools import chain
from typing import Any, NamedTuple

from django_sidekick.broker.events import BEGINNING, Blob, EventStream
from django_sidekick.broker.patience import Patience
from django_sidekick.history.arguments import Arguments
from django_sidekick.history.rows import fold
from django_sidekick.history.writers import Writer
from django_sidekick.wire.event import count_of, decode

logger = logging.getLogger("sidekick")


class Part(NamedTuple):
    """What one transaction writes: whole blobs. `prepared` is None if not all of it can be made into rows at once."""

    generation: str
    blobs: Sequence[Blob]
    prepared: Any

    @property
    def size(self) -> int:
        """How many events it holds."""
        return sum(count_of(blob.content) for blob in self.blobs)


class Feed:
    """Gives the stream's parts in their order, from its beginning on: what is written must be taken out of it.

    One caller; `patience` waits for Redis in either thread.
    """

    def __init__(
        self, stream: EventStream, patience: Patience, arguments: Arguments, on_junk: Callable[[str], None]
    ) -> None:
        self._stream = stream
        self._patience = patience
        self._arguments = arguments
        self._on_junk = on_junk
        self._pending: deque[Blob] = deque()
        self._generation = ""
        self._read_to = BEGINNING
        self._has_more = False
        self._ahead: Future[Part | None] | None = None
        self._thread = ThreadPoolExecutor(1, "sidekick-recorder-ahead")

    def take(self, writer: Writer, enough: int) -> Part | None:
        """Return the next part, of about `enough` events; None if there is none. Begin to make the one after it."""
        ahead, self._ahead = self._ahead, None
        part = ahead.result() if ahead else self._make(writer, enough)
        if self._has_more:
            self._ahead = self._thread.submit(self._make, writer, enough)
        return part

    def start_over(self) -> None:
        """Read from the beginning again, with the next call."""
        if self._ahead:
            wait([self._ahead])
        self._ahead = None
        self._pending.clear()
        self._read_to = BEGINNING

    def _make(self, writer: Writer, enough: int) -> Part | None:
        if not self._pending:
            self._read()
        blobs = self._some(enough)
        self._has_more = bool(self._pending or self._stream.has_more)
        if not self._has_more:
            self._read_to = BEGINNING
        return self._prepared(writer, blobs) if blobs else None

    def _read(self) -> None:
        """Read on; from the beginning if all that was read before is written, or if it is another stream."""
        generation, blobs = self._patience.call(lambda: self._stream.read(self._read_to))
        if generation != self._generation and self._read_to != BEGINNING:
            generation, blobs = self._patience.call(self._stream.read)
        self._generation = generation
        self._pending.extend(blobs)
        if blobs:
            self._read_to = blobs[-1].position

    def _some(self, enough: int) -> list[Blob]:
        """Take whole blobs, one at least."""
        blobs: list[Blob] = []
        size = 0
        while self._pending:
            size += count_of(self._pending[0].content)
            if blobs and size > enough:
                break
            blobs.append(self._pending.popleft())
        return blobs

    def _prepared(self, writer: Writer, blobs: Sequence[Blob]) -> Part:
        """Make the rows, one blob after the other: what a blob is read into is gone before the next one is read."""
        prepared = None
        try:
            events = chain.from_iterable(decode(blob.content, self._on_junk) for blob in blobs)
            prepared = writer.prepare(fold(events, self._arguments, self._on_junk))
        except Exception:
            logger.debug("A batch of events cannot be made into rows at once", exc_info=True)
        return Part(self._generation, blobs, prepared)
