"""Waiting for work without polling: BLMOVE into a wake list, one armed connection a queue."""

from __future__ import annotations

import selectors
import threading
import time
from collections.abc import Iterable, Sequence
from typing import Any

import redis

from django_sidekick.broker import connection
from django_sidekick.broker.connection import Client
from django_sidekick.conf import Settings

Selector = getattr(selectors, "PollSelector", selectors.SelectSelector)
"""For a few sockets, made anew for each wait: epoll would cost three calls of the system more."""

BLOCK_S = 2
CALL_OFF_AGAIN_S = 0.01
SERVED_UNTIL_S = 10.0
"""A wait whose answer was never read may be served for BLOCK_S after it arrives, however late that is."""


class QueueWait:
    """Wait until one of the queues has a job, which then lies in its wake list for the next fetch.

    BLMOVE wakes exactly one of many waiting processes and is destructive into a durable list, so nothing is
    lost with the reply. It knows one source only: hence a connection a queue. When one fires, the others are
    called off before wait() returns, so that no job can be moved to a process whose threads are all busy.
    """

    def __init__(self, settings: Settings, queues: Sequence[str], wakes: Sequence[str]) -> None:
        self._settings = settings
        self._lists = list(zip(queues, wakes, strict=True))
        self._pool = connection.worker_client(settings).connection_pool
        self._control: Client = redis.Redis(connection_pool=self._pool)
        self._connections: dict[int, Any] = {}
        self._ids: dict[int, int] = {}
        self._lock = threading.Lock()
        self._called_off = threading.Event()
        self._is_open = False
        self._served_until = 0.0
        self.may_have_woken = True

    @property
    def may_be_served(self) -> bool:
        """Whether the server may still put a job aside for us: a wait is open, or was cut off lately."""
        return self._is_open or time.monotonic() < self._served_until

    def wait(self, indexes: Sequence[int], timeout_s: float = BLOCK_S) -> None:
        """Return when one of these queues had a job, in time, or when called off. Raise redis-py's errors."""
        self.may_have_woken = True
        self._called_off.clear()
        if not indexes:
            self._called_off.wait(timeout_s)
            return
        self._is_open = True
        try:
            waiting = dict(self._arm(index, timeout_s) for index in indexes)
            self._read(waiting, timeout_s=timeout_s + 5)
            while waiting:
                self._unblock(waiting.values())
                self._read(waiting, timeout_s=CALL_OFF_AGAIN_S)
        except BaseException:
            self._served_until = time.monotonic() + SERVED_UNTIL_S
            self.close()
            raise
        finally:
            self._is_open = False

    def settled(self) -> None:
        """Note that a fetch has adopted the wake lists since the last wait: the next need not look."""
        self.may_have_woken = self.may_be_served

    def nudge(self) -> None:
        """End a wait for no queue at all. Touches no connection."""
        self._called_off.set()

    def call_off(self) -> None:
        """Make a wait in another thread return soon: the worker stops, or its queues changed."""
        self._called_off.set()
        with self._lock:
            ids = list(self._ids.values())
        for client_id in ids:
            self._control.execute_command("CLIENT", "UNBLOCK", client_id)

    def close(self) -> None:
        """Drop the connections; the server forgets their waits."""
        with self._lock:
            links, self._connections, self._ids = list(self._connections.values()), {}, {}
        for link in links:
            link.disconnect()
            self._pool.release(link)

    def _arm(self, index: int, timeout_s: float) -> tuple[int, int]:
        """Send the waiting command. Return the socket's number and the queue's index."""
        link = self._connections.get(index) or self._connect(index)
        source, wake = self._lists[index]
        link.send_command("BLMOVE", source, wake, "RIGHT", "LEFT", timeout_s)
        return link._sock.fileno(), index  # redis-py has no public way to wait for several connections

    def _connect(self, index: int) -> Any:
        link = connection.take(self._pool)
        link.send_command("CLIENT", "ID")
        client_id = int(link.read_response())
        with self._lock:
            self._connections[index], self._ids[index] = link, client_id
        return link

    def _read(self, waiting: dict[int, int], *, timeout_s: float) -> None:
        """Take the answers that are there, or come first, out of `waiting`."""
        with Selector() as selector:
            for descriptor in waiting:
                selector.register(descriptor, selectors.EVENT_READ)
            answered = [key.fd for key, _ in selector.select(timeout_s)]
        for descriptor in answered:
            self._connections[waiting.pop(descriptor)].read_response()

    def _unblock(self, indexes: Iterable[int]) -> None:
        """Call the waits off. One that has not reached the server yet is missed, hence the loop around it."""
        pipeline = self._control.pipeline(transaction=False)
        for index in indexes:
            pipeline.execute_command("CLIENT", "UNBLOCK", self._ids[index])
        pipeline.execute()
