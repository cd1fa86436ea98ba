"""The supervisor's signals: noted when they come, obeyed in its loop, held back while nobody could obey them."""

from __future__ import annotations

import signal
import socket
from types import FrameType

HANDLED = ("SIGTERM", "SIGINT", "SIGTSTP", "SIGTTIN", "SIGHUP", "SIGCHLD")


def hold() -> None:
    """Let signals wait, over a fork and over an exec too: their default would end or stop the process."""
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_BLOCK, _numbers())


def release() -> None:
    """Let signals come, those that have waited at once."""
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _numbers())


class Bell:
    """Readable when a signal has come, so that select() ends."""

    def __init__(self) -> None:
        self._heard: list[str] = []
        self._reader, self._writer = socket.socketpair()
        self._reader.setblocking(False)
        self._writer.setblocking(False)

    def fileno(self) -> int:
        """Return the number of the end to wait at."""
        return self._reader.fileno()

    def listen(self) -> None:
        """Handle the signals from now on, and those that were held back until now."""
        signal.set_wakeup_fd(self._writer.fileno(), warn_on_full_buffer=False)
        for number in _numbers():
            signal.signal(number, self._note)
        release()

    def rest(self) -> None:
        """Be ready for the next wait."""
        try:
            self._reader.recv(4096)
        except BlockingIOError:
            return

    @property
    def is_rung(self) -> bool:
        """Whether a signal waits to be obeyed."""
        return bool(self._heard)

    def heard(self) -> list[str]:
        """Return the names of the signals since the last time, oldest first."""
        heard, self._heard = self._heard, []
        return heard

    def leave_to_child(self) -> None:
        """Be no supervisor any more, in a forked child: TERM, INT, TSTP and TTIN wait for handlers of its own.

        A HUP of the whole process group is the supervisor's; it is handled here, not ignored, since what is
        ignored stays so in every program that a job starts.
        """
        signal.set_wakeup_fd(-1)
        for number in _numbers():
            signal.signal(number, signal.SIG_DFL)
        signal.signal(signal.SIGHUP, _leave_it)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGHUP, signal.SIGCHLD})
        self._reader.close()
        self._writer.close()

    def _note(self, number: int, frame: FrameType | None) -> None:  # Python's signature
        self._heard.append(signal.Signals(number).name)


def _leave_it(number: int, frame: FrameType | None) -> None:  # Python's signature
    """Leave it to the supervisor."""


def _numbers() -> set[signal.Signals]:
    return {getattr(signal, name) for name in HANDLED if hasattr(signal, name)}
