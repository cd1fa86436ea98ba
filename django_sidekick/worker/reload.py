"""`runworker --reload`: start the worker anew when code has changed. For development."""

from __future__ import annotations

import logging
import signal
from pathlib import Path
from types import FrameType

from django.utils import autoreload

from django_sidekick.worker.leash import Watched
from django_sidekick.worker.threads import Wake

logger = logging.getLogger("sidekick")

LOOK_EVERY_S = 0.5
STOP_WITHIN_S = 40.0


class Reloader:
    """Runs the worker in a subprocess, and watches the files of all modules that are loaded here or there.

    On a change the subprocess is told to end: it drains as ever. One that ends by itself, as with a syntax
    error, is started again after the next change.
    """

    def __init__(self, words: list[str]) -> None:
        self._words = [word for word in words if word != "--reload"]
        self._woken = Wake()
        self._stopping = False
        self._changed_at: dict[Path, float] = {}

    def run(self) -> None:
        """Watch until told to stop."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._stop)
        self._has_changed(set(autoreload.iter_all_python_module_files()))
        while not self._stopping:
            worker = Watched(self._words)
            while not self._stopping and not self._has_changed(worker.files()):
                self._woken.wait(LOOK_EVERY_S)
            worker.end(STOP_WITHIN_S)
            if not self._stopping:
                logger.warning("Code has changed: starting anew.")

    def _has_changed(self, new: set[Path]) -> bool:
        """Tell whether a file has changed since the last time. The new ones are watched from now on."""
        before = self._changed_at
        self._changed_at = _when_changed({*before, *new})
        return any(self._changed_at.get(path) != changed_at for path, changed_at in before.items())

    def _stop(self, number: int, frame: FrameType | None) -> None:  # Python's signature
        self._stopping = True
        self._woken.set()


def _when_changed(paths: set[Path]) -> dict[Path, float]:
    changed_at = {}
    for path in paths:
        try:
            changed_at[path] = path.stat().st_mtime
        except OSError:  # an editor is just replacing it, or it is gone
            changed_at[path] = 0.0
    return changed_at
