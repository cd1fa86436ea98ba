"""What a process was doing, kept where its death cannot reach: a file in shared memory."""

from __future__ import annotations

import itertools
import mmap
import os
import struct
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

_MAGIC = b"sidekick-journal-1"
_HEADER = struct.Struct("<24sqq")
_FINISHED = struct.Struct("<ddq")
HEADER_BYTES = 64
SLOT_BYTES = 16
SMALLEST_RING = 4096


class Began(NamedTuple):
    """A job that was inside `perform`: its tag, and since when (time.perf_counter() of this machine)."""

    slot: int
    tag: int
    since: float

    @property
    def since_s(self) -> float:
        """Epoch seconds. The clock is the machine's, so another process may ask."""
        return time.time() - (time.perf_counter() - self.since)


class Finished(NamedTuple):
    """A job whose acknowledgement carries nothing but its event: began at, epoch seconds, and took."""

    tag: int
    started_at_s: float
    duration_s: float


class Entries(NamedTuple):
    """All that a journal says."""

    running: tuple[Began, ...]
    finished: dict[int, Finished]


class Journal:
    """Slots for what runs, and a ring of what has finished, in the order of finishing.

    Only what carries nothing but its event is ever marked as finished: whoever recovers the process settles
    it. A failed job is never marked, so that it runs again. The ring is at least twice as long as the largest
    number of jobs that may be finished and not yet settled; older entries name jobs that are settled. A tag
    is written last, after what belongs to it, so that a kill between two bytes leaves an old tag or none.
    """

    def __init__(self, path: Path, slots: int, window: int) -> None:
        """Make the file. Raise OSError if it cannot be made."""
        self.path = path
        self.ring_length = _ring_length(window)
        size = HEADER_BYTES + slots * SLOT_BYTES + self.ring_length * _FINISHED.size
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o600)
        try:
            os.ftruncate(descriptor, size)
            self._map = mmap.mmap(descriptor, size)
        finally:
            os.close(descriptor)
        _HEADER.pack_into(self._map, 0, _MAGIC, slots, self.ring_length)
        ring_at = HEADER_BYTES + slots * SLOT_BYTES
        view = memoryview(self._map)
        self.tags = view[HEADER_BYTES : HEADER_BYTES + slots * 8].cast("q")
        """The tag of the job that each slot runs; 0 for none."""
        self.since = view[HEADER_BYTES + slots * 8 : ring_at].cast("d")
        """When it began, time.perf_counter()."""
        self.mark_finished = self._marker(ring_at)

    def _marker(self, ring_at: int) -> Callable[[int, float, float], None]:
        place, mask = itertools.count().__next__, self.ring_length - 1
        pack, ring, size = _FINISHED.pack_into, self._map, _FINISHED.size

        def mark_finished(tag: int, started_at_s: float, duration_s: float) -> None:
            """Say that the job is done. Threads may do so at once."""
            pack(ring, ring_at + (place() & mask) * size, started_at_s, duration_s, tag)

        return mark_finished

    def running(self) -> list[Began]:
        """Return what runs now."""
        tags, since = self.tags, self.since
        return [Began(slot, tag, since[slot]) for slot, tag in enumerate(tags) if tag]

    def move_to(self, path: Path) -> None:
        """Go on under another name: the process has taken a new identity."""
        self.path.rename(path)
        self.path = path

    def remove(self) -> None:
        """Delete the file: nothing is held any more."""
        self.path.unlink(missing_ok=True)


def path_of(runtime_dir: Path, identity: str) -> Path:
    """Return where the journal of a process is, if it ran on this machine under this user."""
    return runtime_dir / f"{identity.replace('/', '_')}.journal"


def read(path: Path) -> Entries:
    """Return what the journal of a dead process says; nothing if there is none, or it is cut short."""
    try:
        content = path.read_bytes()
        magic, slots, ring_length = _HEADER.unpack_from(content)
    except (OSError, struct.error):
        return Entries((), {})
    ring_at = HEADER_BYTES + slots * SLOT_BYTES
    if magic.rstrip(b"\0") != _MAGIC or len(content) != ring_at + ring_length * _FINISHED.size:
        return Entries((), {})
    finished = {
        tag: Finished(tag, started_at_s, duration_s)
        for started_at_s, duration_s, tag in _FINISHED.iter_unpack(content[ring_at:])
        if tag
    }
    tags = struct.unpack_from(f"<{slots}q", content, HEADER_BYTES)
    since = struct.unpack_from(f"<{slots}d", content, HEADER_BYTES + slots * 8)
    running = tuple(
        Began(slot, tag, since[slot]) for slot, tag in enumerate(tags) if tag and tag not in finished
    )
    return Entries(running, finished)


def _ring_length(window: int) -> int:
    """The next power of two: a mask is cheaper than a division."""
    return max(SMALLEST_RING, 1 << (2 * window - 1).bit_length())
