"""Coroutine jobs on their way from the threads to the event loop; most go as they are, and the loop decodes them."""

from __future__ import annotations

from collections import deque

from django_sidekick.wire.outcome import Awaiting, Delivery
from django_sidekick.worker.eventloop import EventLoop
from django_sidekick.worker.openqueues import OpenQueues
from django_sidekick.worker.slots import Slots


class Handover:
    """Called by the threads, which never wait here.

    One coroutine job is often followed by others of its class, which then are known by their text. Another job can
    have the same text among its arguments: the loop, which decodes it, sees that, and the text is no sign any more.
    """

    def __init__(self, buffer: deque[Delivery], slots: Slots, loop: EventLoop, order: OpenQueues) -> None:
        self.sign = b""
        """What stands in a payload that is like the last coroutine job's; empty while nothing is known."""
        self._buffer = buffer
        self._slots = slots
        self._loop = loop
        self._order = order
        self._signs: set[bytes] = set()
        self._misleading: set[bytes] = set()

    def pass_on(self, slot: int, awaiting: Awaiting) -> None:
        """Hand over a job that has been decoded, and expect more of its class."""
        sign = b'"class":"%b"' % awaiting.payload["class"].encode()
        self._signs.add(sign)
        self.sign = b"" if sign in self._misleading else sign
        self._slots.pass_on(slot, self._loop.submit, awaiting)
        self._look_for_room(awaiting.delivery)

    def pass_alike(self, slot: int, delivery: Delivery, sign: bytes) -> None:
        """Hand over this job and those behind it in the buffer that have the sign; the slot is taken meanwhile."""
        running, take, bring = self._slots.running, self._buffer.popleft, self._loop.waiting.append
        running[slot] = last = delivery
        try:
            while sign in delivery[2]:
                bring(delivery)
                last = delivery
                running[slot] = delivery = take()
            self._buffer.appendleft(delivery)
        except IndexError:
            pass
        running[slot] = None
        self._loop.call()
        self._look_for_room(last)

    def unlearn(self, raw: bytes) -> None:
        """Trust no sign any more that this payload has, which is of another kind."""
        self._misleading |= {sign for sign in self._signs.copy() if sign in raw}
        self.sign = b""

    def _look_for_room(self, delivery: Delivery) -> None:
        if self._loop.is_full:
            self._order.close_for_room(delivery)
