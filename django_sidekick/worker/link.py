"""The thread between a supervisor and its child: lines one way, and each sees when the other is gone."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator

MESSAGE_BYTES = 65_536


class Link:
    """The child's end. It says what the supervisor cannot see from outside."""

    def __init__(self, connection: socket.socket) -> None:
        connection.setblocking(False)
        self._connection = connection
        self._last: dict[str, str] = {}

    def fileno(self) -> int:
        """Readable when the supervisor is gone: it never writes."""
        return self._connection.fileno()

    @property
    def is_broken(self) -> bool:
        """Whether the supervisor is gone."""
        try:
            return self._connection.recv(1) == b""
        except BlockingIOError:
            return False
        except OSError:
            return True

    def tell(self, what: str, value: str = "") -> None:
        """Say `what`, unless just this was said last of it. A supervisor that does not listen is not waited for."""
        if self._last.get(what) == value:
            return
        try:
            self._connection.send(f"{what} {value}\n".encode())
            self._last[what] = value
        except OSError:  # is_broken will say so
            return


class SupervisorLink:
    """The supervisor's end."""

    def __init__(self, connection: socket.socket) -> None:
        connection.setblocking(False)
        self._connection = connection
        self._partial = b""

    def fileno(self) -> int:
        """Readable when the child has said something, or is gone."""
        return self._connection.fileno()

    def hear(self) -> Iterator[tuple[str, str]]:
        """Yield what the child has said since the last time."""
        try:
            self._partial += self._connection.recv(MESSAGE_BYTES)
        except OSError:
            return
        *lines, self._partial = self._partial.split(b"\n")
        for line in lines:
            what, _, value = line.decode(errors="replace").partition(" ")
            yield what, value

    def close(self) -> None:
        """Close it; the child, if it lives, takes the supervisor for dead."""
        self._connection.close()

    def keep_over_exec(self) -> int:
        """Return its number, which stays open over exec."""
        os.set_inheritable(self.fileno(), True)
        return self.fileno()


def pair() -> tuple[SupervisorLink, socket.socket]:
    """Return both ends; the child makes a Link of its own one after the fork."""
    ours, theirs = socket.socketpair()
    return SupervisorLink(ours), theirs


def taken_over(number: int) -> SupervisorLink:
    """Return the supervisor's end that an exec has left open under this number."""
    os.set_inheritable(number, False)
    return SupervisorLink(socket.socket(fileno=number))
