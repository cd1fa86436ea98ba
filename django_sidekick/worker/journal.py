"""What a process was doing, kept where its death cannot reach: a file in shared memory.

The ring of finished jobs is in the order of finishing, not indexed by sequence number. An entry may go when its
job is settled, and at most a window of jobs is finished and not settled: in the order of finishing what is
overwritten is always settled. By sequence number a job that runs while others go once round the ring would, at
its end, overwrite the entry of one that has just finished, which would then run again.

A living process holds a lock on its journal, which the kernel releases at its death: nobody deletes a journal
that is held. The lock is flock's, of the open file: reading the journal elsewhere does not release it, nor does
the end of a job's own forked child.
"""

from __future__ import annotations

import errno
import fcntl
import itertools
import mmap
import os
import stat
import struct
import time
from collections.abc import Callable
from pathlib import Path
from typing import IO, NamedTuple

from django_sidekick.exceptions import ConfigurationError
from django_sidekick.wire.outcome import Kind

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
    """A job whose acknowledgement carries nothing but its event: began at, epoch seconds, took, done or discarded."""

    tag: int
    started_at_s: float
    duration_s: float
    kind: Kind = "done"


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

    tags: memoryview[int]
    """The tag of the job that each slot runs; 0 for none."""

    since: memoryview[float]
    """When it began, time.perf_counter()."""

    def __init__(self, path: Path, slots: int, window: int) -> None:
        """Make the file. Raise OSError if it cannot be made, ConfigurationError if its directory is not safe."""
        self.ring_length = _ring_length(window)
        self._slots = slots
        self._place = itertools.count().__next__
        make_directory(path.parent)
        self._make(path)

    def _make(self, path: Path) -> None:
        ring_at = HEADER_BYTES + self._slots * SLOT_BYTES
        size = ring_at + self.ring_length * _FINISHED.size
        self.path = path
        self._file = os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o600), "r+b")
        fcntl.flock(self._file, fcntl.LOCK_SH)
        self._file.truncate(size)
        _take_room(self._file, size, path)
        self._map = mmap.mmap(self._file.fileno(), size)
        _HEADER.pack_into(self._map, 0, _MAGIC, self._slots, self.ring_length)
        view = memoryview(self._map)
        self.tags = view[HEADER_BYTES : HEADER_BYTES + self._slots * 8].cast("q")
        self.since = view[HEADER_BYTES + self._slots * 8 : ring_at].cast("d")
        self.mark_finished = self._marker(ring_at)

    def _marker(self, ring_at: int) -> Callable[[int, float, float], None]:
        place, mask = self._place, self.ring_length - 1
        pack, ring, size = _FINISHED.pack_into, self._map, _FINISHED.size

        def mark_finished(tag: int, started_at_s: float, duration_s: float) -> None:
            """Say that the job is done, or, its tag negative, discarded. Threads may do so at once."""
            pack(ring, ring_at + (place() & mask) * size, started_at_s, duration_s, tag)

        return mark_finished

    def running(self) -> list[Began]:
        """Return what runs now."""
        tags, since = self.tags, self.since
        return [Began(slot, tag, since[slot]) for slot, tag in enumerate(tags) if tag]

    def move_to(self, path: Path) -> None:
        """Go on under another name: the process has taken a new identity.

        If somebody has deleted the file, go on in a new one: then `tags`, `since` and `mark_finished` are new.
        """
        try:
            self.path.rename(path)
            self.path = path
        except FileNotFoundError:
            content = self._map[:]
            self._file.close()
            make_directory(path.parent)
            self._make(path)
            self._map[:] = content

    def leave_file(self) -> None:
        """Write nowhere from now on: the file is another process'."""
        self.tags = memoryview(bytearray(self._slots * 8)).cast("q")
        self.since = memoryview(bytearray(self._slots * 8)).cast("d")
        self.mark_finished = _mark_nowhere

    def remove(self) -> None:
        """Delete the file: nothing is held any more."""
        self.path.unlink(missing_ok=True)


def _take_room(file: IO[bytes], size: int, path: Path) -> None:
    """Have the file's blocks now: a write into the map that then finds the disk full is SIGBUS, the process' death."""
    try:
        os.posix_fallocate(file.fileno(), 0, size)
    except AttributeError:  # macOS
        return
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            path.unlink()
            raise OSError(error.errno, os.strerror(error.errno), str(path)) from None


def _mark_nowhere(tag: int, started_at_s: float, duration_s: float) -> None:
    """Mark nothing."""


def make_directory(path: Path) -> None:
    """Make the directory of journals. Raise ConfigurationError if others own it, or may write there."""
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    found, link = path.stat(), path.lstat()
    if {found.st_uid, link.st_uid} != {os.getuid()} or found.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise ConfigurationError(
            f"SIDEKICK['RUNTIME_DIR'] {path} must belong to the user of this process, uid {os.getuid()}, and only "
            f"that user may write there; it belongs to {found.st_uid}, mode {stat.S_IMODE(found.st_mode):o}. Remove "
            "it, or name another directory."
        )


def is_held(path: Path) -> bool:
    """Tell whether a living process holds this journal; nobody holds one that is gone."""
    try:
        with path.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except FileNotFoundError:
        return False
    return False


def remove_free(path: Path) -> None:
    """Delete a dead process' journal; a living one's stays."""
    try:
        if not is_held(path):
            path.unlink()
    except FileNotFoundError:
        return


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
        abs(tag): Finished(abs(tag), started_at_s, duration_s, "done" if tag > 0 else "discarded")
        for started_at_s, duration_s, tag in _FINISHED.iter_unpack(content[ring_at:])
        if tag
    }
    tags = struct.unpack_from(f"<{slots}q", content, HEADER_BYTES)
    since = struct.unpack_from(f"<{slots}d", content, HEADER_BYTES + slots * 8)
    running = tuple(Began(slot, tag, since[slot]) for slot, tag in enumerate(tags) if tag and tag not in finished)
    return Entries(running, finished)


def _ring_length(window: int) -> int:
    """The next power of two: a mask is cheaper than a division."""
    return max(SMALLEST_RING, 1 << (2 * window - 1).bit_length())
