"""Which queues the next fetch asks: those whose coroutine jobs the event loop cannot take are left out."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from django_sidekick.broker.waiting import BLOCK_S
from django_sidekick.wire.outcome import Delivery, queue_index
from django_sidekick.worker.eventloop import EventLoop

CLOSED_WAIT_S = 0.05


class OpenQueues:
    """The queues' order without those at whose head coroutine jobs wait in vain.

    Otherwise a process whose loop is full would go on fetching what it cannot begin, and giving it back. Jobs
    of other queues go on; those behind in the same queue wait for their turn, as in every queue.
    """

    def __init__(self, next_order: Callable[[], Sequence[int]], loop: EventLoop) -> None:
        self._next_order = next_order
        self._loop = loop
        self._closed: set[int] = set()
        self._wants_slots = False

    def next(self) -> Sequence[int]:
        """Return the indexes of the queues to ask, in the order of this fetch; none if all are closed."""
        order = self._next_order()
        if not self._closed:
            return order
        if self._loop.has_free_slot or (self._loop.has_room and not self._wants_slots):
            self._closed.clear()
            self._wants_slots = False
            return order
        return [index for index in order if index not in self._closed]

    @property
    def patience_s(self) -> float:
        """Seconds that a wait for work may take: not long while a closed queue may open."""
        return CLOSED_WAIT_S if self._closed else BLOCK_S

    def close_for_room(self, delivery: Delivery) -> None:
        """Leave out the queue of a job that has filled the loop's room, until there is room again."""
        self._closed.add(queue_index(delivery.tag))

    def close_for_slots(self, deliveries: list[Delivery]) -> list[Delivery]:
        """Leave out the queues of coroutine jobs that could not begin, until one could. Return the jobs."""
        self._closed |= {queue_index(delivery.tag) for delivery in deliveries}
        self._wants_slots |= bool(deliveries)
        return deliveries
