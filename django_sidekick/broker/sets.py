"""What retries, scheduled and dead hold: a page of a set, its members by name, and a walk through all of it."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Iterator
from typing import Any, NamedTuple

from django_sidekick.broker.console import MOST_READ, Console, Question
from django_sidekick.broker.replies import count
from django_sidekick.wire.shown import digest, read

MOST_SEARCHED = 100_000
"""Members looked through for a jid, or among those of one score, before a search gives up."""
SLICE = 100
SLICE_BYTES = 1_000_000
"""Members that an act looks at in one step; about so many bytes are read at once, of pages ten times as many."""


class Member(NamedTuple):
    """One member of a set: its bytes, and its score in epoch seconds, infinite ones included."""

    raw: bytes
    score: float

    @property
    def name(self) -> str:
        """Return what a form calls it: score and digest. Another text, or another time, has another name."""
        return f"{self.score!r}|{digest(self.raw)}"


class Stretch(NamedTuple):
    """Some neighbours of a set in their order, the rank of the first, and the number of all members."""

    members: tuple[Member, ...]
    total: int
    first: int = 0


class Place(NamedTuple):
    """Where a walk stands: the score it has come to, and how many members of that score it leaves behind."""

    score: float = -math.inf
    left: int = 0

    def after(self, members: Iterable[Member], staying: Collection[bytes]) -> Place:
        """Return the place behind these members, of which those named in `staying` are still where they were."""
        place = self
        for member in members:
            behind = place.left if member.score == place.score else 0
            place = Place(member.score, behind + (member.raw in staying))
        return place


def stretch(key: str, first: int, size: int, *, newest_first: bool) -> Question:
    """Ask for at most `size` members from rank `first` on, or the last page if the set ends before that.

    At most two round trips: 100 members, then the others, as many as make about 10 MB if they are like the first
    ones. Empty for a key of another type.
    """
    order = ("REV",) if newest_first else ()
    total, entries = yield [
        ("ZCARD", key),
        ("ZRANGE", key, first, first + min(size, SLICE) - 1, *order, "WITHSCORES"),
    ]
    members, total = members_in(entries), count(total)
    if first and not members and total:
        first = (total - 1) // size * size
        (entries,) = yield [("ZRANGE", key, first, first + SLICE - 1, *order, "WITHSCORES")]
        return Stretch(members_in(entries), total, first)
    if len(members) == SLICE < size:
        more = next_size(members, size - SLICE, 10 * SLICE_BYTES)
        begin = first + SLICE
        (entries,) = yield [("ZRANGE", key, begin, begin + more - 1, *order, "WITHSCORES")]
        members += members_in(entries)
    return Stretch(members, total, first)


def next_size(members: Iterable[Member], most: int, size_bytes: int = SLICE_BYTES) -> int:
    """Return how many members to ask for next, at most `most`: about so many bytes if they are like these."""
    sizes = [len(member.raw) for member in members]
    return max(1, min(most, size_bytes * len(sizes) // max(sum(sizes), 1)))


def ahead(key: str, place: Place, until: float, size: int, *, newest_first: bool = False) -> Question:
    """Ask for the members, lowest score first, that a walk has not come to yet, up to the score `until`.

    `newest_first`: highest score first, down to `until`.
    """
    order = ("BYSCORE", "REV") if newest_first else ("BYSCORE",)
    words = (repr(place.score), repr(until), *order, "LIMIT", place.left, size)
    (entries,) = yield [("ZRANGE", key, *words, "WITHSCORES")]
    return members_in(entries)


def turned(key: str, place: Place) -> Question:
    """Ask where a walk from the lowest score up begins that is to meet what one from the highest down came to."""
    (same,) = yield [("ZCOUNT", key, repr(place.score), repr(place.score))]
    return Place(place.score, max(count(same) - place.left, 0))


def extent(key: str) -> Question:
    """Ask for the number of members and the highest score: how far a walk that begins now is to go."""
    total, last = yield [("ZCARD", key), ("ZRANGE", key, -1, -1, "WITHSCORES")]
    members = members_in(last)
    return count(total), members[0].score if members else -math.inf


def walk(console: Console, key: str, *, newest_first: bool = False) -> Iterator[tuple[Member, ...]]:
    """Yield the first 100,000 members, lowest score first, in slices of at most 1,000 and of about 1 MB.

    `newest_first`: those of the highest scores, highest first.
    """
    begin, end = (math.inf, -math.inf) if newest_first else (-math.inf, math.inf)
    place, size, looked = Place(begin), SLICE, 0
    while looked < MOST_SEARCHED:
        question = ahead(key, place, end, size, newest_first=newest_first)
        members = console.ask({"ahead": question})["ahead"]
        if members:
            yield members
        if len(members) < size:
            return
        looked += len(members)
        place = place.after(members, {member.raw for member in members})
        size = next_size(members, min(MOST_READ, MOST_SEARCHED - looked))


def find(console: Console, key: str, names: Iterable[str]) -> list[Member]:
    """Return the members that go by these names, or bear these jids. Bounded: 100,000 members looked at.

    A name whose member has gone, or has another score by now, finds nothing.
    """
    digests: dict[float, set[str]] = {}
    jids: set[str] = set()
    for name in filter(None, names):
        score, _, mark = name.rpartition("|")
        number = _score(score)
        if number is None or len(mark) != 24:
            jids.add(name)
        else:
            digests.setdefault(number, set()).add(mark)
    found = _by_digest(console, key, digests) if digests else []
    return [*found, *(_by_jid(console, key, jids) if jids else [])]


def members_in(reply: Any) -> tuple[Member, ...]:
    """Return the members of a reply with scores, pairs nested or not; () for an error."""
    if not isinstance(reply, list | tuple):
        return ()
    flat: list[Any] = []
    for item in reply:
        flat += item if isinstance(item, list | tuple) else (item,)
    return tuple(Member(raw, float(score)) for raw, score in zip(flat[::2], flat[1::2], strict=True))


def _by_digest(console: Console, key: str, digests: dict[float, set[str]]) -> list[Member]:
    found: list[Member] = []
    for first in range(0, MOST_SEARCHED, MOST_READ):
        asked = {str(number): ahead(key, Place(score, first), score, MOST_READ) for number, score in enumerate(digests)}
        answers = console.ask(asked)
        for members, score in zip(answers.values(), list(digests), strict=True):
            hits = [member for member in members if digest(member.raw) in digests[score]]
            found += hits
            digests[score] -= {digest(member.raw) for member in hits}
            if not digests[score] or len(members) < MOST_READ:
                del digests[score]
        if not digests:
            break
    return found


def _by_jid(console: Console, key: str, jids: set[str]) -> list[Member]:
    found: list[Member] = []
    for members in walk(console, key):
        found += [member for member in members if _jid_of(member) in jids]
        if len(found) >= len(jids):
            break
    return found


def _jid_of(member: Member) -> str:
    jid = (read(member.raw) or {}).get("jid")
    return jid if isinstance(jid, str) else ""


def _score(text: str) -> float | None:
    try:
        score = float(text)
    except ValueError:
        return None
    return None if math.isnan(score) else score
