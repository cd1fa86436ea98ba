"""The one thread shape beside the intake's: do something now and then, until told to stop."""

from __future__ import annotations

import logging
import select
import socket
import threading
from collections import deque
from collections.abc import Callable
from typing import Any, Protocol, TypeVar

from django_sidekick.exceptions import BrokerUnavailable

logger = logging.getLogger("sidekick")
T = TypeVar("T")

AFTER_ERROR_S = 1.0


def take_all(shared: deque[T]) -> list[T]:
    """Empty a deque from the left, while other threads may do so too. Return what this one got."""
    taken = []
    try:
        while True:
            taken.append(shared.popleft())
    except IndexError:
        return taken


def within(seconds: float, action: Callable[[], object]) -> None:
    """Call `action` in a thread of its own and wait for its end; an error of it passes.

    Raise BrokerUnavailable after so long: it is left behind, for a server that hangs is waited for as long as sockets are.
    """
    errors: list[BaseException] = []

    def call() -> None:
        try:
            action()
        except BaseException as error:  # noqa: BLE001 handed over
            errors.append(error)

    thread = threading.Thread(target=call, name="sidekick-end", daemon=True)
    thread.start()
    thread.join(seconds)
    if errors:
        raise errors[0]
    if thread.is_alive():
        raise BrokerUnavailable(f"Redis has not answered for {seconds:.0f} s.", reason="no answer")


class HasFileno(Protocol):
    """What select() takes."""

    def fileno(self) -> int:
        """Return the number of an open file."""


class Wake:
    """A flag that one thread waits for and that a signal handler may raise: threading.Event may lock up there.

    `other`: something else with a fileno() whose being readable ends a wait as well.
    """

    def __init__(self, other: HasFileno | None = None) -> None:
        self._sources: list[Any] = [other] if other is not None else []
        self._reader, self._writer = socket.socketpair()
        self._reader.setblocking(False)
        self._writer.setblocking(False)

    def set(self) -> None:
        """End the present or the next wait."""
        try:
            self._writer.send(b"w")
        except BlockingIOError:  # raised many times already
            pass

    def wait(self, timeout_s: float) -> bool:
        """Wait until raised, or so long. Return True if it was raised, and lower it."""
        readable = select.select([self._reader, *self._sources], [], [], timeout_s)[0]
        if self._reader not in readable:
            return False
        self._reader.recv(4096)
        return True


class Ticker:
    """A thread that calls `action`, sleeps as many seconds as it returned, and calls it again.

    An error of the action is logged and the next call comes a second later: a thread never dies of one.
    """

    def __init__(self, name: str, action: Callable[[], float]) -> None:
        self._action = action
        self._wake = threading.Event()
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name=f"sidekick-{name}", daemon=True)

    def start(self) -> None:
        """Begin with a first call at once."""
        self._thread.start()

    def wake(self) -> None:
        """End the present sleep."""
        self._wake.set()

    def stop(self) -> None:
        """Make no further call. Does not wait: see join()."""
        self._stopping = True
        self._wake.set()

    def join(self, timeout_s: float) -> None:
        """Wait until a call that is under way has ended. Nothing to wait for if it was never started."""
        if self._thread.ident is not None:
            self._thread.join(timeout_s)

    def _run(self) -> None:
        while True:
            self._wake.clear()  # before the question: a stop in between is seen here, one that comes later ends the wait
            if self._stopping:
                return
            self._wake.wait(self._one_call())

    def _one_call(self) -> float:
        try:
            return self._action()
        except BrokerUnavailable:
            return AFTER_ERROR_S
        except Exception:  # a thread must outlive its errors
            logger.exception("%s failed; it goes on.", self._thread.name)
            return AFTER_ERROR_S
