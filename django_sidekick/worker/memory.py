"""CHILD_MAX_MEMORY_MIB: which children have grown too big and are to be replaced."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Iterator

from django_sidekick.worker.supervised import RestartBackoff, SupervisedProcess

logger = logging.getLogger("sidekick")

LOOK_EVERY_S = 5.0
NEW_S = 30.0
LONGEST_PAUSE_S = 600.0


class MemoryWatch:
    """Looks every few seconds. Children that are too big when they are new are replaced ever more rarely."""

    def __init__(self, most_mib: float | None) -> None:
        self._most_mib = most_mib
        self._look_at = 0.0
        self._new_ones = RestartBackoff(NEW_S, LONGEST_PAUSE_S)
        self._has_warned = False

    def too_big(self, workers: Iterable[SupervisedProcess]) -> Iterator[SupervisedProcess]:
        """Yield those to be replaced; when, stands in their `replace_at`."""
        if self._most_mib is None or time.monotonic() < self._look_at:
            return
        self._look_at = time.monotonic() + LOOK_EVERY_S
        for child in workers:
            now_mib = child.resident_mib
            if not child.is_ready or child.wants_replacement or child.is_dismissed or now_mib <= self._most_mib:
                continue
            if child.base_mib > self._most_mib:
                self._warn(child.base_mib)
            else:
                logger.warning("The worker process %d has grown to %.0f MiB.", child.pid, now_mib)
            now = time.monotonic()
            child.replace_at = now + self._new_ones.pause_s(now - child.started)
            yield child

    def _warn(self, base_mib: float) -> None:
        if not self._has_warned:
            self._has_warned = True
            logger.warning(
                "CHILD_MAX_MEMORY_MIB is %s, but a worker process has %.0f MiB before its first job: raise it. "
                "Until then children are replaced in vain, at most every %.0f min in the end.",
                self._most_mib, base_mib, LONGEST_PAUSE_S / 60,
            )  # fmt: skip
