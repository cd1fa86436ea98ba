"""Sidekiq's bar: the seven numbers, and the queues they are made of."""

from __future__ import annotations

from typing import NamedTuple

from django_sidekick.broker.console import Question
from django_sidekick.broker.keys import Keys
from django_sidekick.broker.replies import count, names_in


class Numbers(NamedTuple):
    """The seven numbers of Sidekiq's bar. `failed` counts failed runs, as there."""

    processed: int
    failed: int
    busy: int
    enqueued: int
    retries: int
    scheduled: int
    dead: int


def numbers(keys: Keys) -> Question:
    """Ask for Numbers, in two round trips. A key of an unexpected type counts nothing."""
    sets = (keys.retry, keys.schedule, keys.dead)
    replies = yield [
        ("SMEMBERS", keys.queues),
        ("SMEMBERS", keys.processes),
        ("GET", keys.stat("processed")),
        ("GET", keys.stat("failed")),
        *(("ZCARD", key) for key in sets),
    ]
    queues, processes = names_in(replies[0]), names_in(replies[1])
    replies[:2] = []
    sizes = yield [
        *(("LLEN", keys.queue(name)) for name in queues),
        *(("HGET", keys.process(identity), "busy") for identity in processes),
    ]
    processed, failed, retries, scheduled, dead = map(count, replies)
    enqueued = sum(map(count, sizes[: len(queues)]))
    busy = sum(map(count, sizes[len(queues) :]))
    return Numbers(processed, failed, busy, enqueued, retries, scheduled, dead)
