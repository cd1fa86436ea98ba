"""Waiting for work without polling: BLMOVE into a wake list, one armed connection a queue."""

from __future__ import annotations

import selectors
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

import redis

from django_sidekick.broker import connection
from django_sidekick.broker.connection import Client
from django_sidekick.conf import Settings

Selector = getattr(selectors, "PollSelector", selectors.SelectSelector)
"""For a few sockets, made anew for each wait: epoll would cost three calls of the system more."""

BLOCK_S = 2
CALL_OFF_AGAIN_S = 0.001
"""Where the ring is whole, all answers are there at once."""

REFUSED_PAUSE_S = 0.5
CONTROL_TIMEOUT_S = 0.5
"""For calling a wait off, which is only a hint: a server that hangs must not hold up the end of a worker."""

CUT_PAUSE_S = 0.02
"""Before what was cut is asked for: a server that closes every new connection shall not be asked without a pause."""

SERVED_UNTIL_S = 10.0
"""A wait whose answer was never read may be served for BLOCK_S after it arrives, however late that is."""


class Answer(NamedTuple):
    """What came of one queue's wait: the job that was put aside, or None; then the next command's reply, or its error.

    `is_refused`: the queue's key is no list, or the server is out of memory.
    """

    moved: bytes | None
    reply: Any
    is_refused: bool


class QueueWait:
    """Wait until one of the queues has a job, which then lies in its wake list.

    BLMOVE wakes exactly one of many waiting processes and is destructive into a durable list, so nothing is
    lost with the reply. It knows one source only: hence a connection a queue. When one fires, the others are
    called off before wait() returns, so that no job can be moved to a process whose threads are all busy.

    Two commands are sent along behind each wait. Redis keeps them until the wait is over and runs them then, so they
    take no round trip of their own: one calls off the next queue's wait, in a ring, the other is the caller's.
    """

    def __init__(self, settings: Settings, queues: Sequence[str], wakes: Sequence[str]) -> None:
        self._settings = settings
        self._lists = list(zip(queues, wakes, strict=True))
        self._pool = connection.worker_client(settings).connection_pool
        self._control: Client = connection.client(settings, socket_timeout_s=CONTROL_TIMEOUT_S)
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

    def wait(self, indexes: Sequence[int], timeout_s: float, then: Callable[[int], Sequence[Any]]) -> list[Answer]:
        """Return when one of these queues had a job, in time, or when called off. Raise redis-py's errors.

        A connection that is cut, or cannot be made, is one answer that says nothing: what the server has done is to be
        asked of it at once, not after another wait. If a queue's wait is refused, it ends at once: this call then
        rests half a second, so that asking again does not spin.

        `then` gives the command that the server runs when a queue's wait is over, by the queue's index; after an error of
        the connection it may still run it much later.
        """
        self.may_have_woken = True
        self._called_off.clear()
        if not indexes:
            self._called_off.wait(timeout_s)
            return []
        self._is_open = True
        try:
            waiting = self._arm(indexes, timeout_s, then)
            answers = came = self._read(waiting, timeout_s + 5, is_ring=len(indexes) > 1)
            while waiting:
                if not (came or self._unblock(list(waiting.values()))):
                    self._drop()
                    break
                came = self._read(waiting, CALL_OFF_AGAIN_S, is_ring=True)
                answers = answers + came
        except (redis.ConnectionError, redis.TimeoutError):
            self._drop()
            self._called_off.wait(CUT_PAUSE_S)
            return [Answer(None, None, False)]
        except BaseException:
            self._drop()
            raise
        finally:
            self._is_open = False
        if all(answer.moved is None for answer in answers) and any(answer.is_refused for answer in answers):
            self._called_off.wait(REFUSED_PAUSE_S)
        return answers

    def _drop(self) -> None:
        self._served_until = time.monotonic() + SERVED_UNTIL_S
        self.close()

    def settled(self) -> None:
        """Note that the wake lists were adopted since the last wait: the next fetch need not look."""
        self.may_have_woken = self.may_be_served

    def is_in_doubt(self) -> None:
        """Note that what was put aside may be adopted only by a later fetch than the next."""
        self._served_until = time.monotonic() + SERVED_UNTIL_S

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
        self._control.connection_pool.disconnect()

    def _arm(self, indexes: Sequence[int], timeout_s: float, then: Callable[[int], Sequence[Any]]) -> dict[int, int]:
        """Send the waits and what stands behind them. Return the queues' indexes by the sockets' numbers."""
        for index in indexes:
            if index not in self._connections:
                self._connect(index)
        waiting, following = {}, [*indexes[1:], indexes[0]]
        for index, neighbour in zip(indexes, following, strict=True):
            link, (source, wake) = self._connections[index], self._lists[index]
            wait = ("BLMOVE", source, wake, "RIGHT", "LEFT", timeout_s)
            call_off = [("CLIENT", "UNBLOCK", self._ids[neighbour])] if neighbour != index else []
            _send(link, [wait, *call_off, then(index)])
            waiting[link._sock.fileno()] = index  # redis-py has no public way to wait for several connections
        return waiting

    def _connect(self, index: int) -> None:
        link = connection.take(self._pool)
        try:
            link.send_command("CLIENT", "ID")
            client_id = int(link.read_response())
        except BaseException:
            link.disconnect()
            self._pool.release(link)
            raise
        with self._lock:
            self._connections[index], self._ids[index] = link, client_id

    def _read(self, waiting: dict[int, int], timeout_s: float, *, is_ring: bool) -> list[Answer]:
        """Take the answers that are there, or come first, out of `waiting`."""
        with Selector() as selector:
            for descriptor in waiting:
                selector.register(descriptor, selectors.EVENT_READ)
            answered = [key.fd for key, _ in selector.select(timeout_s)]
        return [_answer(self._connections[waiting.pop(fd)], is_ring=is_ring) for fd in answered]

    def _unblock(self, indexes: Sequence[int]) -> bool:
        """Call the waits off. Return False if this user may not (an ACL without +client|unblock): to be cut ends them too.

        One that has not reached the server yet is missed, by the ring and here: hence the loop.
        """
        link = connection.take(self._pool)
        try:
            _send(link, [("CLIENT", "UNBLOCK", self._ids[index]) for index in indexes])
            replies = [connection.reply_of(link) for _ in indexes]
        finally:
            self._pool.release(link)
        return not any(isinstance(reply, redis.ResponseError) for reply in replies)


def _send(link: Any, commands: Iterable[Sequence[Any]]) -> None:
    """Send several commands at once over a connection of redis-py."""
    link.send_packed_command(link.pack_commands(commands))


def _answer(link: Any, *, is_ring: bool) -> Answer:
    """Read what came of a wait: of its errors only that the key is no list, which is no reason to leave other queues.

    Nor is that the server is out of memory, where a fetch takes jobs all the same.
    """
    moved, is_refused = None, False
    try:
        moved = link.read_response()
    except redis.ResponseError as error:
        if not (str(error).startswith("WRONGTYPE") or isinstance(error, redis.exceptions.OutOfMemoryError)):
            raise
        is_refused = True
    if is_ring:
        connection.reply_of(link)
    return Answer(moved, connection.reply_of(link), is_refused)
