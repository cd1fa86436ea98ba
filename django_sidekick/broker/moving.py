"""Moving jobs by hand: what each act makes of a job, and the one script that carries it out."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple, TypeAlias

from django_sidekick.broker import burial
from django_sidekick.broker.keys import Keys
from django_sidekick.broker.settling import stream_bound
from django_sidekick.conf import Settings
from django_sidekick.wire import codec
from django_sidekick.wire.outcome import FollowUp
from django_sidekick.wire.payload import scrub, timestamp

SLICE = 100
SLICE_BYTES = 100_000
"""Jobs, and bytes of their texts, that move in one step: about 1 ms of Redis."""


class Source(NamedTuple):
    """Where jobs are taken from: a key, and whether it is a `list` or a `zset`.

    `within`: what is farther than so many from a list's right end counts as gone; 0 looks through all of it, and
    Redis serves nobody else while it looks in vain through a million.
    """

    key: str
    kind: str = "zset"
    within: int = 0


class Move(NamedTuple):
    """One job on its way: its text as it was found, and where it goes as which text. Key '' is nowhere.

    `place` is the bare name of a list's queue, or the score of a zset, epoch seconds.
    """

    raw: bytes
    key: str = ""
    kind: str = "none"
    text: bytes = b""
    place: str = ""


class Moved(NamedTuple):
    """What became of moves: done; gone (it was not there any more); refused (the target holds another type)."""

    done: tuple[Move, ...] = ()
    gone: tuple[Move, ...] = ()
    refused: tuple[Move, ...] = ()

    def and_also(self, other: Moved) -> Moved:
        """Return what became of both."""
        return Moved(*(own + more for own, more in zip(self, other, strict=True)))


Run: TypeAlias = Callable[[str, Sequence[str], Sequence[Any]], Any]
EventOf: TypeAlias = Callable[[Sequence[Move]], bytes]


class Planner:
    """What each act makes of one job: pure. `now_s` is the moment of the act, epoch seconds."""

    def __init__(self, settings: Settings, keys: Keys, now_s: float) -> None:
        self._times = settings.wire_times
        self._keys = keys
        self._now_s = now_s

    def to_queue(self, raw: bytes, payload: dict[str, Any], *, is_failure: bool) -> Move:
        """Put it on its queue now. A failure is taken off its count: a manual retry does not eat one.

        What can be read but not written again (a number or a depth beyond all bounds) goes on as it came.
        Source: Sidekiq 8.1, `api.rb`.
        """
        payload = dict(payload)
        count = payload.get("retry_count")
        if is_failure and isinstance(count, int) and not isinstance(count, bool):
            payload["retry_count"] = count - 1
        queue = payload["queue"] = queue_of(payload)
        payload["enqueued_at"] = timestamp(self._now_s, self._times)
        return Move(raw, self._keys.queue(queue), "list", _text_of(payload, raw), queue)

    def to_dead(self, raw: bytes) -> Move:
        """Bury it as it is."""
        return Move(raw, self._keys.dead, "zset", raw, repr(self._now_s))


def to_time(raw: bytes, key: str, at_s: float) -> Move:
    """Give it another time, epoch seconds, in the same set."""
    return Move(raw, key, "zset", raw, repr(at_s))


def queue_of(payload: dict[str, Any]) -> str:
    """Return the queue that a job names; `default`, as for a due job, if that is no name."""
    queue = payload.get("queue")
    return queue if isinstance(queue, str) and queue and scrub(queue) == queue else "default"


def no_event(moves: Sequence[Move]) -> bytes:  # an EventOf
    """Write no event."""
    return b""


class Mover:
    """Carry out moves. `run` runs a script; `event_of` makes the blob of events that goes with a slice of them.

    The blob is written in the step that moves; where the stream is full, its events are counted as dropped.
    """

    def __init__(self, settings: Settings, keys: Keys, run: Run, event_of: EventOf = no_event) -> None:
        self._settings = settings
        self._keys = keys
        self._run = run
        self._event_of = event_of

    def move(self, source: Source, moves: Sequence[Move]) -> Moved:
        """Move each job that is still where it was found. A second call with the same moves changes nothing."""
        moved = Moved()
        for part in self.portions(source, moves):
            moved = moved.and_also(part)
        return moved

    def portions(self, source: Source, moves: Sequence[Move]) -> Iterator[Moved]:
        """Move them as move() does, and say after each step what became of it.

        At most 100 jobs and 100,000 bytes a step; each step moves all of its jobs, their events with them, or,
        when somebody was faster, asks again for those that are left. Jobs are never in two places, nor in none.
        The dead set is cut to DEAD_MAX_JOBS and DEAD_TIMEOUT in the step that buries.
        """
        for portion in _portions({move.raw: move for move in moves}.values()):
            yield self._step(source, portion)

    def _step(self, source: Source, moves: list[Move]) -> Moved:
        gone: list[Move] = []
        refused: list[Move] = []
        while moves:
            keys, words = self._words(source, moves)
            in_the_way = self._run("move", keys, words)
            if not in_the_way:
                break
            gone += [moves[number - 1] for number in in_the_way if number > 0]
            refused += [moves[-number - 1] for number in in_the_way if number < 0]
            numbers = {abs(number) for number in in_the_way}
            moves = [move for number, move in enumerate(moves, 1) if number not in numbers]
        return Moved(tuple(moves), tuple(gone), tuple(refused))

    def _words(self, source: Source, moves: list[Move]) -> tuple[list[str], list[Any]]:
        places = {(m.key, m.kind, _name(m)) for m in moves if m.key}
        targets = {place: number for number, place in enumerate(sorted(places), 1)}
        events, most = self._event_of(moves), stream_bound(self._settings)
        words: list[Any] = [source.kind, events, most, source.within, len(targets)]
        for _, kind, name in targets:
            words += (kind, name)
        words.append(len(moves))
        for move in moves:
            target = targets.get((move.key, move.kind, _name(move)), 0)
            words += (move.raw, target, move.text, move.place)
        own = self._keys
        keys = [source.key, own.queues, own.events, own.events_bytes, own.events_dropped]
        keys += [key for key, _, _ in targets]
        for command, key, arguments in self._following(source, moves):
            keys.append(key)
            words += (2 + len(arguments), command, key, *arguments)
        return keys, words

    def _following(self, source: Source, moves: list[Move]) -> list[FollowUp]:
        if source.key != self._keys.dead and any(move.key == self._keys.dead for move in moves):
            return [*burial.trimming(self._settings, self._keys, time.time())]
        return []


def _name(move: Move) -> str:
    return move.place if move.kind == "list" else ""


def _portions(moves: Any) -> Iterator[list[Move]]:
    portion: list[Move] = []
    size = 0
    for move in moves:
        if portion and (len(portion) >= SLICE or size + len(move.raw) > SLICE_BYTES):
            yield portion
            portion, size = [], 0
        portion.append(move)
        size += len(move.raw)
    if portion:
        yield portion


def _text_of(payload: dict[str, Any], raw: bytes) -> bytes:
    try:
        return codec.dumps(payload)
    except (TypeError, ValueError):
        return raw
