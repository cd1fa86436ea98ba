"""`runworker --reload`: start the worker anew when code has changed. For development."""

from __future__ import annotations

import logging
import signal
import subprocess
from pathlib import Path
from types import FrameType

from django.utils import autoreload

from django_sidekick.worker.threads import Wake

logger = logging.getLogger("sidekick")

LOOK_EVERY_S = 0.5
STOP_WITHIN_S = 40.0


class Reloader:
    """Watches the files of all modules that are loaded here, and runs the worker in a subprocess.

    On a change the subprocess is told to end: it drains as ever. One that ends by itself, as with a syntax
    error, is started again after the next change.
    """

    def __init__(self, words: list[str]) -> None:
        self._words = [word for word in words if word != "--reload"]
        self._woken = Wake()
        self._stopping = False

    def run(self) -> None:
        """Watch until told to stop."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._stop)
        while not self._stopping:
            before = _snapshot()
            worker = subprocess.Popen(self._words)
            while not self._stopping and _snapshot() == before:
                self._woken.wait(LOOK_EVERY_S)
            _end(worker)
            if not self._stopping:
                logger.warning("Code has changed: starting anew.")

    def _stop(self, number: int, frame: FrameType | None) -> None:  # noqa: ARG002 Python's signature
        self._stopping = True
        self._woken.set()


def _snapshot() -> dict[Path, float]:
    """Return when each file was changed."""
    changed = {}
    for path in autoreload.iter_all_python_module_files():
        try:
            changed[path] = path.stat().st_mtime
        except FileNotFoundError:  # an editor is just replacing it
            continue
    return changed


def _end(worker: subprocess.Popen[bytes]) -> None:
    worker.terminate()
    try:
        worker.wait(STOP_WITHIN_S)
    except subprocess.TimeoutExpired:
        worker.kill()
        worker.wait()
