"""What Redis holds for this process though nobody here knows of it: its data is older than what it has said."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import Any

from django_sidekick.conf import MOST_QUEUES
from django_sidekick.exceptions import MalformedPayload
from django_sidekick.wire.outcome import Awaiting, Delivery, Outcome
from django_sidekick.wire.payload import parse
from django_sidekick.worker import journal
from django_sidekick.worker.intake import Intake

logger = logging.getLogger("sidekick")

LOOKS = 2


class Strays:
    """Jobs whose end, or giving back, was lost with the last moments of a server: a failover, or a restart.

    They would stay in the in-flight hash for as long as this process lives. After Redis was away it is looked at
    twice, some seconds apart; what is there both times, and nowhere here, is settled if the journal names it as
    finished, and goes back to its queue otherwise.
    """

    def __init__(self, intake: Intake) -> None:
        self._intake = intake
        self._own = intake.ownership
        self._troubles = 0
        self._looks = 0
        self._before: set[int] = set()

    def look(self) -> None:
        """Look, if there is a reason to. Called with each renewal of the lease. Raise Fenced if the jobs were taken over."""
        if (troubles := self._own.patience.troubles) != self._troubles:
            self._troubles, self._looks, self._before = troubles, LOOKS, set()
        if not self._looks:
            return
        self._looks -= 1
        held, next_tag = self._own.held_tags(), (self._own.sequence + 1) * MOST_QUEUES
        strays = {tag for tag in held - self._known() if tag < next_tag}  # the others come with the next fetch
        lost, self._before = strays & self._before, strays
        if lost:
            self._end(self._own.held(lost))

    def _known(self) -> set[int]:
        intake = self._intake
        waiting = (job.delivery if isinstance(job, Awaiting) else job for job in list(intake.loop.waiting))
        jobs: Iterable[Delivery | None] = (*intake.buffer.copy(), *waiting, *intake.slots.running)
        return {job.tag for job in jobs if job} | intake.finished.all_tags()

    def _end(self, jobs: list[Delivery]) -> None:
        finished = journal.read(self._intake.journal.path).finished
        unfinished = [job for job in jobs if job.tag not in finished]
        for job in jobs:
            if job.tag in finished:
                _, started_at_s, duration_s, kind = finished[job.tag]
                self._intake.finished.append(Outcome(kind, job, payload_of(job.raw), started_at_s, duration_s))
        logger.warning(
            "Redis has older data than before it was away: %d jobs that had finished are settled again, %d are back in their queues.",
            len(jobs) - len(unfinished), len(unfinished),
        )  # fmt: skip
        if unfinished:
            self._own.give_back(unfinished)


def payload_of(raw: bytes) -> dict[str, Any] | None:
    """Return the payload of a job that has run; None if it nests so deeply that it can be read there and not here."""
    try:
        return parse(raw)
    except MalformedPayload:
        return None
