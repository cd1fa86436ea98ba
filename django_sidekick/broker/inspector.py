"""What people ask of Redis: where a job is, how much there is, and acts on single jobs. The cold path."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from django_sidekick.broker import queues
from django_sidekick.broker.broker import Broker
from django_sidekick.broker.connection import Client, replies
from django_sidekick.broker.console import Console, answer, as_it_came
from django_sidekick.broker.lag import Lag, lag
from django_sidekick.broker.moving import EventOf, Move, Mover, Planner, Source, no_event, to_time
from django_sidekick.broker.numbers import Numbers, numbers
from django_sidekick.broker.whereabouts import Found, Location, seek
from django_sidekick.exceptions import WrongType

_BAR = ("processed", "failed", "busy", "enqueued", "retry", "schedule", "dead")


class Inspector:
    """Find and move single jobs: by jid, or as they were found. Each act is one atomic move of that exact text.

    Raise SidekickError, and change nothing, if the key it should go to holds another type.
    """

    def __init__(self, broker: Broker | Console, event_of: EventOf = no_event) -> None:
        self._broker = broker
        self._event_of = event_of
        self._client: Client = broker.client
        self._keys = broker.keys

    def sizes(self) -> dict[str, int]:
        """Return the numbers of Sidekiq's bar: processed, failed, busy, enqueued, retry, schedule, dead."""
        found: Numbers = answer(self._client, numbers(self._keys))
        return dict(zip(_BAR, found, strict=True))

    def lag(self) -> Lag:
        """Return how far the history is behind."""
        found: Lag = answer(self._client, lag(self._keys))
        return found

    def queues(self) -> dict[str, int]:
        """Return the size of each known queue, by name; none for a name whose key holds no list."""
        pipeline = self._client.pipeline(transaction=False)
        (known,) = replies(pipeline.smembers(self._keys.queues))
        names = sorted(_text(name) for name in known or ())
        for name in names:
            pipeline.llen(self._keys.queue(name))
        sizes = zip(names, replies(pipeline), strict=True)
        return {name: size for name, size in sizes if size is not None}

    def paused(self) -> set[str]:
        """Return the names of the queues from which no worker takes anything."""
        return {_text(name) for name in self._client.smembers(self._keys.paused)}

    def pause(self, queue: str) -> bool:
        """Let no worker take anything from a queue until resume(). Return False if it is paused already."""
        return bool(self._client.execute_command(*queues.pause(self._keys, queue)))

    def resume(self, queue: str) -> bool:
        """Let workers take from a queue again, within 2 s. Return False if it was not paused."""
        return bool(self._client.execute_command(*queues.resume(self._keys, queue)))

    def find(self, jid: str) -> Location | None:
        """Return where a job is, or None. Bounded: 100,000 members of each queue and set, in slices."""
        found: Found = answer(self._client, seek(self._keys, [jid]))
        return found.places.get(jid)

    def cancel(self, job: str | Location) -> bool:
        """Take a job out of its queue, the schedule or retry. Return False if it is in none of them."""
        return self._delete(self._located(job), {"queue", "schedule", "retry"})

    def delete(self, job: str | Location) -> bool:
        """Take a job out of its queue or set, dead included. Return False if it is in none."""
        return self._delete(self._located(job), {"queue", "schedule", "retry", "dead"})

    def reschedule(self, job: str | Location, at_s: float) -> bool:
        """Give a job of the schedule or retry another time, epoch seconds. Return False if it is in neither."""
        found = self._located(job)
        if found is None or found.kind not in {"schedule", "retry"}:
            return False
        return self._move(found, to_time(found.raw, found.key, at_s))

    def retry(self, job: str | Location) -> bool:
        """Put a job of retry, dead or the schedule on its queue now. Return False if it is in none.

        A failure is taken off its count, so that the manual retry does not eat one.
        """
        found = self._located(job)
        if found is None or found.kind not in {"retry", "dead", "schedule"}:
            return False
        is_failure = found.kind != "schedule"
        return self._move(found, self._planner().to_queue(found.raw, found.payload, is_failure=is_failure))

    def kill(self, job: str | Location) -> bool:
        """Move a job from retry, the schedule or its queue to the dead set. Return False if it is in none.

        The set is cut to DEAD_MAX_JOBS and DEAD_TIMEOUT in the same step, as after a death.
        """
        found = self._located(job)
        if found is None or found.kind not in {"retry", "schedule", "queue"}:
            return False
        return self._move(found, self._planner().to_dead(found.raw))

    def _located(self, job: str | Location) -> Location | None:
        return job if isinstance(job, Location) else self.find(job)

    def _delete(self, found: Location | None, kinds: set[str]) -> bool:
        if found is None or found.kind not in kinds:
            return False
        return self._move(found, Move(found.raw))

    def _planner(self) -> Planner:
        return Planner(self._broker.settings, self._keys, time.time())

    def _move(self, found: Location, move: Move) -> bool:
        mover = Mover(self._broker.settings, self._keys, self._run, self._event_of)
        moved = mover.move(Source(found.key, "list" if found.kind == "queue" else "zset"), [move])
        if moved.refused:
            raise WrongType(
                f"{move.key} holds something else than a {move.kind}, or {self._keys.queues} no set of "
                f"names of queues; the job stays in {found.key}.",
                key=str(move.key), stays_in=found.key,
            )  # fmt: skip
        return bool(moved.done)

    def _run(self, name: str, keys: Sequence[str], words: Sequence[Any]) -> Any:
        return self._broker.run(name, [as_it_came(key) for key in keys], words)


def _text(name: bytes) -> str:
    return name.decode(errors="replace")
