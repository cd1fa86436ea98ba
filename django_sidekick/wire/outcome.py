"""What crosses the walls on the way in: a delivery as it was fetched, an outcome as it ended."""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

from django_sidekick.conf import MOST_QUEUES

Kind = Literal["done", "retry", "dead", "failed", "discarded", "released"]


class Delivery(NamedTuple):
    """One job as it came out of its queue. `tag` is its name in the in-flight hash: see queue_index()."""

    tag: int
    queue: str
    raw: bytes


def queue_index(tag: int) -> int:
    """Return which of its process' queues a job came out of: a tag is sequence * 256 + index."""
    return tag % MOST_QUEUES


class Awaiting(NamedTuple):
    """A job whose `perform` is a coroutine, ready for the event loop, where its time begins. `job` is a BaseJob."""

    delivery: Delivery
    payload: dict[str, Any]
    job: Any


class FollowUp(NamedTuple):
    """A plain Redis command that runs if, and only if, its job is acknowledged, in the same step."""

    command: str
    key: str
    arguments: tuple[bytes | str | int | float, ...]


def check_follow_up(command: FollowUp) -> None:
    """Raise TypeError or ValueError for one that cannot be sent: it would keep the outcomes of others from Redis."""
    for word in (command.command, command.key, *command.arguments):
        if isinstance(word, bool) or not isinstance(word, bytes | str | int | float):
            raise TypeError(f"A follow-up's words are bytes, texts and numbers, not {word!r:.100}.")
        if isinstance(word, str):
            word.encode()


class Outcome(NamedTuple):
    """How one run ended, and where its job goes.

    done; retry and dead: `member` goes into that set with the score `at_s`, epoch seconds; failed: an error,
    and nothing is kept; discarded: dropped on purpose; released: back to the front of its queue, never begun.
    `payload` is None for what is no job.
    """

    kind: Kind
    delivery: Delivery
    payload: dict[str, Any] | None = None
    started_at_s: float = 0.0
    duration_s: float = 0.0
    error: BaseException | None = None
    member: bytes | None = None
    at_s: float = 0.0
    follow_ups: tuple[FollowUp, ...] = ()
