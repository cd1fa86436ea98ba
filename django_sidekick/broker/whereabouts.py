"""Where jobs are right now: each queue and set looked through slice by slice, within bounds that are told."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

from django_sidekick.broker import scripts
from django_sidekick.broker.console import Command, Question
from django_sidekick.broker.keys import Keys
from django_sidekick.broker.replies import names_in
from django_sidekick.wire.payload import read_time_s
from django_sidekick.wire.shown import read

MOST_SEARCHED = 100_000
"""Members looked at in each queue and set before a search gives up on it."""

SLICE = 1000
SLICE_BYTES = 1_000_000
SLICES_A_TRIP = 5
_FIRST_SLICE = 100
_JID = re.compile(rb'"jid"\s*:\s*"((?:[^"\\]|\\.)*)"')


class Location(NamedTuple):
    """Where a job was found: `kind` is queue, schedule, retry, dead or busy; `score` in epoch seconds.

    In a queue `position` is 1 for the next job to run, of `size`. Busy: `process` is its identity, `since_s` the
    start of the run, None where it is not known (yet). `raw` is b"" if only a beat told of it.
    """

    kind: str
    key: str
    raw: bytes
    payload: dict[str, Any]
    score: float | None = None
    queue: str = ""
    position: int | None = None
    size: int | None = None
    process: str = ""
    since_s: float | None = None


class Gap(NamedTuple):
    """What was not looked through to its end: the first `looked` members of `size`."""

    kind: str
    name: str
    looked: int
    size: int


class Found(NamedTuple):
    """The jobs that were found, by jid, and what could hold the others."""

    places: dict[str, Location]
    gaps: tuple[Gap, ...]


def seek(keys: Keys, jids: Iterable[str], *, within_s: float | None = None, most: int = MOST_SEARCHED) -> Question:
    """Ask where jobs are; the answer is Found. Slices of at most about 1 MB; a key of another type is passed over.

    Bounded: the newest `most` members of each queue and set, and no further slice after `within_s`. A job that
    moves meanwhile may be missed. What a beat says is up to 10 s old, and counts only if the job is nowhere else.
    """
    search = _Search(keys, jids, most)
    ends = None if within_s is None else time.monotonic() + within_s
    names = yield [("SMEMBERS", keys.queues), ("SMEMBERS", keys.processes), ("ZRANGE", keys.owners, 0, -1)]
    queues, processes, owners = (names_in(reply) for reply in names)
    hashes = yield [
        *(("HGETALL", keys.work(identity)) for identity in processes),
        *(("HGETALL", keys.inflight(identity)) for identity in owners),
    ]
    search.read_beats(zip(processes, hashes, strict=False))
    search.read_inflight(zip(owners, hashes[len(processes) :], strict=True))
    search.add_shelves(queues)
    while not search.is_done and (ends is None or time.monotonic() < ends):
        replies = yield search.next_slices()
        for shelf, reply in zip(search.asked, replies, strict=True):
            search.read(shelf, reply)
    return search.found()


class _Shelf:
    """One queue or set on the way through it."""

    def __init__(self, kind: str, key: str, name: str) -> None:
        self.kind, self.key, self.name = kind, key, name
        self.looked = self.size = 0
        self.step = _FIRST_SLICE
        self.is_open = True

    def question(self, most: int, needles: Iterable[bytes]) -> Command:
        """Look through the next slice, the newest members first, where it lies: only what is found travels."""
        kind = "list" if self.kind == "queue" else "zset"
        last = min(self.looked + self.step, most) - 1
        return ("EVAL", scripts.load("seek").text, 1, self.key, kind, self.looked, last, *needles)


class _Search:
    def __init__(self, keys: Keys, jids: Iterable[str], most: int) -> None:
        self._keys, self._most = keys, most
        self._missing = set(jids)
        self._needles = {text: jid for jid in self._missing for text in _texts(jid)}
        self._places: dict[str, Location] = {}
        self._told: dict[str, Location] = {}
        self._shelves: list[_Shelf] = []
        self.asked: list[_Shelf] = []

    @property
    def is_done(self) -> bool:
        return not self._missing or not any(shelf.is_open for shelf in self._shelves)

    def add_shelves(self, queues: list[str]) -> None:
        for kind in ("retry", "schedule", "dead"):
            self._shelves.append(_Shelf(kind, getattr(self._keys, kind), kind))
        self._shelves += [_Shelf("queue", self._keys.queue(name), name) for name in queues]

    def next_slices(self) -> list[Command]:
        """The shelves that have been looked at least come first, so that no long one hides the others."""
        waiting = sorted((s for s in self._shelves if s.is_open), key=lambda shelf: shelf.looked)
        self.asked = waiting[:SLICES_A_TRIP]
        return [shelf.question(self._most, self._needles) for shelf in self.asked]

    def read(self, shelf: _Shelf, reply: Any) -> None:
        if not isinstance(reply, list):
            shelf.is_open = False
            return
        shelf.size, looked, size_bytes, *hits = reply
        for rank, raw, score in zip(hits[::3], hits[1::3], hits[2::3], strict=True):
            for jid, payload in self._jobs_in(raw):
                self._place(jid, _on(shelf, raw, payload, rank, score))
        shelf.looked += looked
        shelf.is_open = looked == shelf.step and shelf.looked < self._most
        shelf.step = min(max(SLICE_BYTES * max(looked, 1) // (size_bytes + 1), 1), SLICE)

    def read_inflight(self, hashes: Iterable[tuple[str, Any]]) -> None:
        for identity, entries in hashes:
            for raw in _values(entries):
                for jid, payload in self._jobs_in(raw):
                    told = self._told.get(jid)
                    since_s = told.since_s if told and told.process == identity else None
                    key, queue = self._keys.inflight(identity), _text_field(payload, "queue")
                    place = Location("busy", key, raw, payload, queue=queue, process=identity, since_s=since_s)
                    self._place(jid, place)

    def read_beats(self, hashes: Iterable[tuple[str, Any]]) -> None:
        """What processes said of their threads: the only trace of a job that Ruby runs."""
        for identity, entries in hashes:
            for raw in _values(entries):
                for jid, payload, run_at in self._told_by(raw):
                    since_s = float(run_at) if type(run_at) is int else read_time_s(run_at)
                    key, queue = self._keys.work(identity), _text_field(payload, "queue")
                    place = Location("busy", key, b"", payload, queue=queue, process=identity, since_s=since_s)
                    self._told[jid] = place

    def found(self) -> Found:
        for jid in self._missing & self._told.keys():
            self._place(jid, self._told[jid])
        gaps = (Gap(s.kind, s.name, s.looked, s.size) for s in self._shelves if s.looked < s.size)
        return Found(self._places, tuple(gaps) if self._missing else ())

    def _place(self, jid: str, location: Location) -> None:
        self._places.setdefault(jid, location)
        self._missing.discard(jid)

    def _jobs_in(self, raw: bytes) -> Iterator[tuple[str, dict[str, Any]]]:
        for match in _JID.finditer(raw):
            jid = self._needles.get(match[1])
            if jid is not None and (payload := _job(raw, jid)):
                yield jid, payload
                return

    def _told_by(self, raw: bytes) -> Iterator[tuple[str, dict[str, Any], Any]]:
        """Sidekiq 7 and later lay the payload as a text into the text, older ones as an object."""
        work = read(raw) or {}
        payload = work.get("payload")
        if isinstance(payload, str):
            payload = read(payload.encode(errors="surrogatepass"))
        jid = payload.get("jid") if isinstance(payload, dict) else None
        if isinstance(payload, dict) and isinstance(jid, str) and jid in self._missing:
            yield jid, payload, work.get("run_at")


def _on(shelf: _Shelf, raw: bytes, payload: dict[str, Any], index: int, score: Any) -> Location:
    if shelf.kind == "queue":
        position = max(shelf.size - index, 1)
        return Location("queue", shelf.key, raw, payload, queue=shelf.name, position=position, size=shelf.size)
    queue = _text_field(payload, "queue")
    return Location(shelf.kind, shelf.key, raw, payload, float(score), queue, size=shelf.size)


def _texts(jid: str) -> set[bytes]:
    """How JSON may write it: as it is, or in ASCII."""
    plain = json.dumps(jid, ensure_ascii=False)[1:-1].encode(errors="surrogatepass")
    return {plain, json.dumps(jid)[1:-1].encode()}


def _values(entries: Any) -> list[bytes]:
    if isinstance(entries, dict):
        return list(entries.values())
    return entries[1::2] if isinstance(entries, list) else []


def _job(raw: bytes, jid: str) -> dict[str, Any] | None:
    payload = read(raw)
    return payload if payload and payload.get("jid") == jid else None


def _text_field(payload: dict[str, Any], name: str) -> str:
    value = payload.get(name)
    return value if isinstance(value, str) else ""
