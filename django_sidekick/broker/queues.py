"""Queues as people look at them: how much waits, for how long, who reads it; and the rows of one."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Collection
from typing import Any, NamedTuple

from django_sidekick.broker import fleet
from django_sidekick.broker.console import MOST_READ, Command, Question
from django_sidekick.broker.keys import Keys
from django_sidekick.broker.replies import count, names_in
from django_sidekick.wire.payload import read_time_s
from django_sidekick.wire.shown import digest, read

_SAMPLE, _MOST_BYTES = 100, 10_000_000


class Queue(NamedTuple):
    """One queue. `latency_s`: how long the next job to run has waited; None where there is none, or it does not say."""

    name: str
    size: int
    latency_s: float | None
    is_paused: bool
    processes: int
    threads: int


class Listed(NamedTuple):
    """A page of queues by name: of `matching` ones, of `known` ones; read by the first 1,000 of `processes`."""

    queues: list[Queue]
    matching: int
    known: int
    processes: int


class Waiting(NamedTuple):
    """Jobs of one queue, the next to run first, and the position of the first of them, from 1."""

    texts: list[bytes]
    first: int
    total: int
    is_paused: bool


def queues(
    keys: Keys, takes: Callable[[str], bool] = lambda name: True, page: int = 1, rows: int = MOST_READ
) -> Question:
    """Ask for Listed, paused queues without jobs included, in two round trips; pages from 1, the last one for any beyond it."""
    replies = yield [
        ("SMEMBERS", keys.queues),
        ("SMEMBERS", keys.paused),
        *fleet.identities(keys),
    ]
    pushed, paused, everyone = map(names_in, replies)
    names = everyone[: fleet.MOST_LISTED]
    known = sorted({*pushed, *paused})
    meant = [name for name in known if takes(name)]
    first = _first_of(page, rows, len(meant))
    listed = meant[first : first + rows]
    commands: list[Command] = []
    for name in listed:
        commands += [("LLEN", keys.queue(name)), ("LINDEX", keys.queue(name), -1)]
    replies = yield [*commands, *fleet.describing(keys, names)]
    living = fleet.described(names, replies[len(commands) :])
    processes = Counter(name for process in living for name in process.reads)
    threads: Counter[str] = Counter()
    for process in living:
        threads.update(process.reads)
    now_s = time.time()
    found = [
        Queue(
            name,
            count(replies[2 * index]),
            _age_s(replies[2 * index + 1], now_s),
            name in paused,
            processes[name],
            threads[name],
        )
        for index, name in enumerate(listed)
    ]
    return Listed(found, len(meant), len(known), len(everyone))


def waiting(keys: Keys, name: str, page: int, rows: int) -> Question:
    """Ask for a page of Waiting, pages from 1, the last one for any beyond it, in two round trips."""
    length, is_paused = yield [("LLEN", keys.queue(name)), ("SISMEMBER", keys.paused, name)]
    total = count(length)
    first = _first_of(page, rows, total)
    texts = []
    if total:
        texts = _reversed((yield [_slice(keys, name, first, rows)])[0])
    return Waiting(texts, first + 1, total, count(is_paused) == 1)


def nearest(keys: Keys, name: str) -> Question:
    """Ask for the Waiting of the next 1,000 jobs to run, in two round trips: 100, then the others.

    Fewer, if those would be more than about 10 MB by what the first ones are.
    """
    length, is_paused, replied = yield [
        ("LLEN", keys.queue(name)),
        ("SISMEMBER", keys.paused, name),
        _slice(keys, name, 0, _SAMPLE),
    ]
    texts = _reversed(replied)
    if len(texts) == _SAMPLE:
        fit = _MOST_BYTES * _SAMPLE // max(sum(map(len, texts)), 1)
        more = max(1, min(MOST_READ - _SAMPLE, fit))
        texts = texts + _reversed((yield [_slice(keys, name, _SAMPLE, more)])[0])
    return Waiting(texts, 1, count(length), count(is_paused) == 1)


def _first_of(page: int, rows: int, total: int) -> int:
    """Return how many rows stand before a page, or before the last one if there is no such page."""
    pages = max(-(-total // rows), 1)
    return (min(page, pages) - 1) * rows


def _slice(keys: Keys, name: str, first: int, rows: int) -> Command:
    """Rows from the end that is taken next, `first` of them left out; the reply has the next to run last."""
    return ("LRANGE", keys.queue(name), -(first + rows), -(first + 1))


def size(keys: Keys, name: str) -> Question:
    """Ask how many jobs wait in a queue, in one round trip."""
    return count((yield [("LLEN", keys.queue(name))])[0])


def next_to_run(keys: Keys, name: str, most: int) -> Question:
    """Ask for the texts of the next jobs to run, the first one first, in one round trip."""
    return _reversed((yield [_slice(keys, name, 0, most)])[0])


def named(keys: Keys, name: str, wanted: Collection[str]) -> Question:
    """Ask for the texts with these names (of text_name()), by slices, each once, the next to run first.

    A job only comes nearer while others are taken, but for those given back: looked at until 1,000 behind the
    farthest position that is named.
    """
    by_digest = {one.partition("|")[2]: one for one in wanted}
    found: dict[str, bytes] = {}
    for first in range(0, reach(wanted), MOST_READ):
        texts = _reversed((yield [_slice(keys, name, first, MOST_READ)])[0])
        found |= {digits: text for text in texts if (digits := digest(text)) in by_digest}
        if len(found) == len(by_digest) or not texts:
            break
    return list(found.values())


def reach(wanted: Collection[str]) -> int:
    """Return how far from the end that is taken next the texts with these names are looked for."""
    positions = (one.partition("|")[0] for one in wanted)
    return MOST_READ + max((int(p) for p in positions if p.isdecimal() and len(p) < 12), default=0)


def text_name(position: int, text: bytes) -> str:
    """Return what a form calls a waiting job: its position when it was shown, and its digest."""
    return f"{position}|{digest(text)}"


def pause(keys: Keys, name: str) -> Command:
    """Return the command that lets no worker take from a queue; its reply is 0 if it was paused before.

    Holds from the next fetch on; what has been fetched runs. Sidekiq Pro's workers heed the same set.
    """
    return ("SADD", keys.paused, name)


def resume(keys: Keys, name: str) -> Command:
    """Return the command that lets workers take from a queue again, within 2 s; its reply is 0 if it was not paused."""
    return ("SREM", keys.paused, name)


def _age_s(reply: Any, now_s: float) -> float | None:
    payload = read(reply) if isinstance(reply, bytes) else None
    if payload is None:
        return None
    since_s = read_time_s(payload.get("enqueued_at"))
    if since_s is None:
        since_s = read_time_s(payload.get("created_at"))
    return None if since_s is None else max(now_s - since_s, 0.0)


def _reversed(texts: Any) -> list[bytes]:
    return texts[::-1] if isinstance(texts, list) else []
