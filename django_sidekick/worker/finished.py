"""Outcomes on their way to Redis: between the end of a job and the call that settles it."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager

from django_sidekick.exceptions import BrokerUnavailable, Fenced
from django_sidekick.wire.outcome import Outcome


class Finished(deque[Outcome]):
    """Threads append; whoever settles takes all, and puts back what could not be settled.

    Until it is settled an outcome stands here or in the caller's hands, and its job in the in-flight hash.
    """

    def __init__(self) -> None:
        super().__init__()
        self._taking = threading.Lock()
        self._in_hand: dict[int, list[Outcome]] = {}

    @contextmanager
    def taken(self, oldest_tag: int, abandoned: Collection[int]) -> Iterator[list[Outcome]]:
        """Take what is finished, for as long as it is being settled; it is put back if Redis cannot be reached, or refuses us.

        Left out is what is others' now: tags before `oldest_tag`, and those `abandoned`.
        """
        pop = self.popleft
        # Else two of us would run into each other's end and lose what they hold, and who asks meanwhile would miss it.
        with self._taking:
            taken = [pop() for _ in range(len(self))]
            self._in_hand[id(taken)] = held = taken
        if oldest_tag or abandoned:
            taken = [o for o in taken if o[1][0] >= oldest_tag and o[1][0] not in abandoned]
        try:
            yield taken
        except (Fenced, BrokerUnavailable):
            self.put_back(taken)
            raise
        finally:
            with self._taking:
                del self._in_hand[id(held)]

    def put_back(self, outcomes: Sequence[Outcome]) -> None:
        """Keep what could not be settled, for whoever settles next."""
        self.extendleft(reversed(outcomes))

    def tags(self) -> set[int]:
        """Return the tags of what waits now."""
        return {outcome.delivery.tag for outcome in list(self)}

    def all_tags(self) -> set[int]:
        """Return the tags of what waits, and of what is being settled now."""
        with self._taking:
            return self.tags().union(*({outcome.delivery.tag for outcome in held} for held in self._in_hand.values()))

    def is_settled(self) -> bool:
        """Tell whether nothing waits, and nothing is being settled now."""
        with self._taking:
            return not self and not any(self._in_hand.values())
