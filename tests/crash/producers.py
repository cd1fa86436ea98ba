"""Threads that push while something goes wrong, and know what has been pushed."""

from __future__ import annotations

import contextlib
import itertools
import threading
from collections.abc import Collection, Iterator

from django_sidekick.exceptions import EnqueueError
from tests.conftest import wait_until
from tests.crash.jobs import ChaosJob, kind_of

THREADS = 2
SOME = 2000


class Producers:
    """Threads that push some jobs each few milliseconds, numbered from `first`.

    `pushed`: those whose push returned; `unsure`: by push, the others.
    """

    def __init__(self, first: int = 0, *, jobs: int = 10, pause_s: float = 0.003) -> None:
        self.pushed: list[int] = []
        self.unsure: list[list[int]] = []
        self._numbers = itertools.count(first, jobs)
        self._jobs, self._pause_s = jobs, pause_s
        self._stopping = threading.Event()
        self._threads = [threading.Thread(target=self._push, daemon=True) for _ in range(THREADS)]
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        self._stopping.set()
        for thread in self._threads:
            thread.join(30)

    def more(self, jobs: int = SOME) -> None:
        """Wait until so many more are pushed."""
        enough = len(self.pushed) + jobs
        wait_until(lambda: len(self.pushed) >= enough, f"{jobs} more jobs", 30)

    def arrived(self, began: Collection[int]) -> list[int]:
        """Return the jobs of each push that raised and of which one has begun: all of them must then run."""
        return list(itertools.chain(*(numbers for numbers in self.unsure if {*numbers} & {*began})))

    def _push(self) -> None:
        while not self._stopping.wait(self._pause_s):
            first = next(self._numbers)
            numbers = range(first, first + self._jobs)
            try:
                ChaosJob.perform_bulk([(number, kind_of(number)) for number in numbers])
            except EnqueueError:
                self.unsure.append(list(numbers))
            else:
                self.pushed += numbers


@contextlib.contextmanager
def producing(first: int = 0, *, jobs: int = 10, pause_s: float = 0.003) -> Iterator[Producers]:
    producers = Producers(first, jobs=jobs, pause_s=pause_s)
    try:
        yield producers
    finally:
        producers.stop()
