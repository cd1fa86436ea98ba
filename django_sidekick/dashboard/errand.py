"""What a person was asked about and has confirmed, no more and no less: at once, or in slices from one request to the next."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from django.core import signing

from django_sidekick.broker.console import Console
from django_sidekick.broker.moving import Move, Mover, Planner, Source, to_time
from django_sidekick.broker.sets import (
    SLICE,
    Member,
    Place,
    ahead,
    extent,
    next_size,
    turned,
    walk,
)
from django_sidekick.dashboard.filters import Filter
from django_sidekick.jobs.byhand import event_of
from django_sidekick.wire.payload import read_time_s
from django_sidekick.wire.shown import read

_SALT = "django_sidekick.errand"
_DAY_S = 24 * 3600
FIRST_SLICE = 10
"""Members looked at first: they tell how long the others may be."""


class Errand(NamedTuple):
    """One act on all that match, and how far it has come. Only what was there when it was asked for is meant.

    It begins at `place`, and ends at the score `until`, the highest there was, or when `total` jobs are done. `at_s` is the new time
    of a reschedule. Times and scores are epoch seconds. `names`: what is meant, where a page has shown it one by one.
    """

    kept: str
    act: str
    user: str
    meant: Filter
    asked_s: float
    until: float
    total: int
    at_s: float | None = None
    done: int = 0
    refused: int = 0
    place: Place = Place()
    is_over: bool = False
    entry: int | None = None
    names: tuple[str, ...] = ()

    def token(self) -> str:
        """Return it as a field of a form: signed, so that nobody can ask for what was not confirmed."""
        return signing.dumps(list(self), salt=_SALT, compress=True)

    @classmethod
    def of(cls, token: str) -> Errand | None:
        """Return the errand of a form; None if it is not ours, or older than a day."""
        try:
            fields = signing.loads(token, salt=_SALT, max_age=_DAY_S)
        except signing.BadSignature:
            return None
        errand = cls(*fields)
        meant, place, names = Filter(*errand.meant), Place(*errand.place), tuple(errand.names)
        return errand._replace(meant=meant, place=place, names=names)

    @classmethod
    def on(cls, kept: str, act: str, user: str, names: Sequence[str]) -> Errand:
        """Return the errand on what bears these names, and on nothing else."""
        return cls(kept, act, user, Filter(), time.time(), 0.0, len(names), names=tuple(names))


class Extent(NamedTuple):
    """How many members match now, the score up to which they were counted, and where they begin."""

    total: int
    until: float
    place: Place


def measure(console: Console, key: str, meant: Filter, *, newest_first: bool = False) -> Extent:
    """Return what is meant now. With a filter the first 100,000 members are looked at, or the newest ones."""
    if not any(meant):
        total, until = console.ask({"extent": extent(key)})["extent"]
        return Extent(total, until, Place())
    matching, highest, place = 0, -math.inf, Place()
    for members in walk(console, key, newest_first=newest_first):
        matching += sum(meant.takes_text(member.raw) for member in members)
        highest = max(highest, members[0].score, members[-1].score)
        place = place.after(members, {member.raw for member in members})
    begin = console.ask({"begin": turned(key, place)})["begin"] if newest_first else Place()
    return Extent(matching, highest, begin)


def steps(console: Console, key: str, errand: Errand) -> Iterator[Errand]:
    """Carry out slice after slice, at most 100 members looked at in each; yield the errand as it stands after each.

    Each slice is one atomic step, events included: the errand can be dropped after any, and begun again from
    any token it ever had without doing anything twice.
    """
    source, size = Source(key), FIRST_SLICE
    while not errand.is_over:
        members = console.ask({"ahead": ahead(key, errand.place, errand.until, size)})["ahead"]
        size = next_size(members, SLICE)
        now_s = time.time()
        planner = Planner(console.settings, console.keys, now_s)
        chosen = [m for m in members if _is_meant(errand, m, now_s)]
        chosen = chosen[: errand.total - errand.done]
        moves = [move_of(errand.act, key, member, planner, errand.at_s) for member in chosen]
        moved = mover(console, errand.act, errand.at_s).move(source, [m for m in moves if m])
        away = {move.raw for move in (*moved.done, *moved.gone)}
        done = errand.done + len(moved.done)
        errand = errand._replace(
            done=done,
            refused=errand.refused + len(moved.refused) + moves.count(None),
            place=errand.place.after(members, {m.raw for m in members} - away),
            is_over=not members or done >= errand.total,
        )
        yield errand


def move_of(act: str, key: str, member: Member, planner: Planner, at_s: float | None) -> Move | None:
    """Return what an act makes of one member; None if it cannot be done to what is no job."""
    if act in ("delete", "clear"):
        return Move(member.raw)
    if act == "kill":
        return planner.to_dead(member.raw)
    if act == "reschedule":
        return to_time(member.raw, key, at_s or 0.0)
    payload = read(member.raw)
    if payload is None:
        return None
    return planner.to_queue(member.raw, payload, is_failure=act != "enqueue_now")


def mover(console: Console, act: str, at_s: float | None) -> Mover:
    """Return who carries out the moves of an act, each slice with its event."""

    def told(moves: Sequence[Move]) -> bytes:
        return event_of(console.settings, act, moves, time.time(), at_s)

    return Mover(console.settings, console.keys, console.run, told)


def _is_meant(errand: Errand, member: Member, now_s: float) -> bool:
    """Leave what has come since it was asked for, what bears the new time already, and what does not match."""
    if came_since(errand.asked_s, errand.kept, member, now_s):
        return False
    return member.score != errand.at_s and errand.meant.takes_text(member.raw)


def came_since(asked_s: float, kept: str, member: Member, now_s: float) -> bool:
    """Tell whether a job came to where it is (retry, schedule, dead or queue) after it was asked for.

    By what it says itself: what says nothing, or a time to come, counts as there.
    """
    return asked_s < _arrived_s(kept, member) <= now_s


def _arrived_s(kept: str, member: Member) -> float:
    """When a member came into its set, or a job into its queue; 0 if nothing says so."""
    if kept == "dead":
        return member.score
    payload: dict[str, Any] = read(member.raw) or {}
    if kept == "schedule":
        return read_time_s(payload.get("created_at")) or 0.0
    if kept == "queue":
        return read_time_s(payload.get("enqueued_at") or payload.get("created_at")) or 0.0
    last = payload.get("retried_at") or payload.get("failed_at")
    return read_time_s(last) or 0.0
