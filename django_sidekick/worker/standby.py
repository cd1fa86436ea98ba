"""The threads that have nothing to do, and how one of them is called."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable


class Standby:
    """Threads sleep here until another, about to be busy for it does not know how long, calls one in its stead.

    Called one at a time, the next only by the one that has arrived: a thread that does many short jobs in a row
    wakes no others for them, and ten long jobs are begun within a millisecond. A lock that all wait for would
    be handed to a thread that must still wait for the GIL, and nobody could fetch meanwhile.
    """

    def __init__(self, threads: int) -> None:
        self.idle: deque[threading.Lock] = deque()
        self.one_is_coming = False
        """Somebody was called and has not arrived: there is no need to call another."""
        self._beds = [threading.Lock() for _ in range(threads)]
        for bed in self._beds:
            bed.acquire()

    def wait(self, slot: int, is_needed: Callable[[], bool]) -> None:
        """Sleep until called. Return at once if `is_needed` says so: what it asks may change until one sleeps."""
        bed = self._beds[slot]
        self.idle.append(bed)
        if is_needed() and self._withdraw(bed):
            return
        bed.acquire()
        self.one_is_coming = False

    def call_one(self) -> None:
        """Wake the thread that fell asleep last, if any sleeps."""
        self.one_is_coming = True
        try:
            self.idle.pop().release()
        except IndexError:
            self.one_is_coming = False

    def call_all(self) -> None:
        """Wake all."""
        while self.idle:
            self.call_one()

    def _withdraw(self, bed: threading.Lock) -> bool:
        try:
            self.idle.remove(bed)
        except ValueError:  # called at this very moment
            return False
        return True
