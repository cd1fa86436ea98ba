"""Whether a database answers, without a wait for one that hangs: neither drivers nor TCP give up in a second."""

from __future__ import annotations

import contextlib
import threading
import time
from typing import Any

from django.db import Error, OperationalError, connections
from django.utils.text import format_lazy
from django.utils.translation import gettext_lazy as _

ANSWER_S = 0.6
"""For a connection and a first answer. What is asked after it may take its time."""

PAUSE_S = 5.0
"""For so long, times those that still hang, a database that hangs is not asked again."""


class _Probe(threading.Thread):
    """Lets a connection of another thread answer once. Hangs as long as it does; then the connection is closed."""

    def __init__(self, connection: Any) -> None:
        super().__init__(name=f"sidekick-probe-{connection.alias}", daemon=True)
        self.began = time.monotonic()
        self.error: Error | None = None
        self._connection = connection
        self._lock = threading.Lock()
        self._has_ended = threading.Event()
        self._is_given_up = False

    def run(self) -> None:
        """Connect, or make sure of what is connected: a server may have gone since then."""
        try:
            _answer(self._connection)
        except Error as error:
            self.error = error
        finally:
            with self._lock:
                self._has_ended.set()
                if self._is_given_up:
                    with contextlib.suppress(Error):
                        self._connection.close()
            self._connection.dec_thread_sharing()

    def has_ended_within(self, seconds: float) -> bool:
        """Wait. Return False if the connection is this thread's from now on, and nobody else's."""
        if self._has_ended.wait(seconds):
            return True
        with self._lock:
            self._is_given_up = not self._has_ended.is_set()
            return not self._is_given_up


_hanging: dict[str, list[_Probe]] = {}
"""By alias, those that were given up, the last one last."""


def make_sure(alias: str) -> None:
    """Connect this thread to a database, and return when it has answered; within 0.6 s, or raise its Error.

    One that hangs is said to hang at once for a while. Not within an open transaction, which has its connection.
    """
    hanging = [probe for probe in _hanging.get(alias, ()) if probe.is_alive()]
    if hanging and time.monotonic() < hanging[-1].began + PAUSE_S * len(hanging):
        raise _silence()
    connection = connections[alias]
    connection.inc_thread_sharing()
    probe = _Probe(connection)
    probe.start()
    if not probe.has_ended_within(ANSWER_S):
        del connections[alias]
        _hanging[alias] = [*hanging, probe]
        raise _silence()
    if probe.error is not None:
        raise probe.error


def _answer(connection: Any) -> None:
    if connection.connection is not None:
        if connection.is_usable():
            return
        connection.close()
    connection.ensure_connection()
    if not connection.is_usable():  # a pooler connects without the server behind it
        raise OperationalError(_("it connects, and answers nothing"))


def _silence() -> OperationalError:
    return OperationalError(format_lazy(_("no answer within {seconds} s"), seconds=ANSWER_S))
