"""The thread between the watcher of --reload and its worker: files one way, and the worker ends with the watcher."""

from __future__ import annotations

import os
import socket
import subprocess
from collections.abc import Sequence
from pathlib import Path

from django.utils import autoreload

from django_sidekick.worker.link import Link

LEASH = "DJANGO_SIDEKICK_LEASH"
MESSAGE_BYTES = 1 << 20


class Leash(Link):
    """The worker's end, shared by all its processes. Broken when the watcher is gone."""

    def __init__(self, number: int) -> None:
        connection = socket.socket(fileno=number)
        connection.set_inheritable(False)
        super().__init__(connection)
        self._told: set[Path] = set()
        self._unsent = b""

    def tell_files(self) -> None:
        """Name the files of all modules that were loaded here since the last time."""
        new = set(autoreload.iter_all_python_module_files()) - self._told
        self._told |= new
        self._unsent += b"".join(os.fsencode(path) + b"\n" for path in new)
        try:
            self._unsent = self._unsent[self._connection.send(self._unsent) :] if self._unsent else b""
        except OSError:  # full: the rest goes the next time; or gone
            return

    def keep_over_exec(self) -> None:
        """Leave it to the next program of this process."""
        self._connection.set_inheritable(True)
        os.environ[LEASH] = str(self.fileno())


class Watched:
    """The watcher's end: a worker in a process of its own."""

    def __init__(self, words: Sequence[str]) -> None:
        self._connection, theirs = socket.socketpair()
        self._connection.setblocking(False)
        with theirs:
            number = theirs.fileno()
            self.process = subprocess.Popen(words, pass_fds=[number], env={**os.environ, LEASH: str(number)})
        self._partial = b""

    def files(self) -> set[Path]:
        """Return the files that it has named since the last time."""
        try:
            self._partial += self._connection.recv(MESSAGE_BYTES)
        except OSError:
            return set()
        *lines, self._partial = self._partial.split(b"\n")
        return {Path(os.fsdecode(line)) for line in lines}

    def end(self, within_s: float) -> None:
        """Tell it to end, and wait so long before it is killed."""
        self.process.terminate()
        try:
            self.process.wait(within_s)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self._connection.close()


def taken() -> Leash | None:
    """Return the leash that this process was started on, if any. Programs that it starts are on none."""
    number = os.environ.pop(LEASH, None)
    return Leash(int(number)) if number else None
