"""What the jobs themselves have said, in a file outside of all that is killed; and the account of it."""

from __future__ import annotations

import collections
import json
from collections.abc import Collection
from pathlib import Path
from typing import Any, NamedTuple

from tests.crash.jobs import LINE_BYTES, kind_of

LAST = {"ok": "done", "brief": "done", "once": "done", "drops": "discarded", "dies": "dead", "dies late": "dead"}
"""How each kind ends."""


UNWRITTEN_S = 0.5
"""How long a failure may wait for its script: a fetch takes it along, or the keeper some milliseconds later."""


class Line(NamedTuple):
    what: str
    number: int
    at: float
    pid: int


def lines_of(path: Path) -> list[Line]:
    return [Line(w, int(n), float(t), int(p)) for w, n, t, p in map(str.split, path.read_text().splitlines())]


class Ledger:
    def __init__(self, path: Path) -> None:
        self.path = path
        path.touch()

    def __len__(self) -> int:
        """Number of lines: cheap to ask."""
        return self.path.stat().st_size // LINE_BYTES

    def lines(self) -> list[Line]:
        return lines_of(self.path)

    def newest(self) -> Line:
        return self.lines()[-1]

    def cut_short(self, killed: Collection[int]) -> set[int]:
        """Return the jobs that one of these was running, and nobody has run since.

        A job that is killed three times is held to be the killer and goes to the dead set: not what is shown here.
        """
        last = {line.number: line for line in self.lines()}
        return {line.number for line in last.values() if line.what == "began" and line.pid in killed}

    def running(self) -> set[int]:
        """Return the jobs that somebody has begun, and that have come to no end since."""
        last = {line.number: line for line in self.lines()}
        return {line.number for line in last.values() if line.what == "began"}

    def has_all(self, numbers: Collection[int]) -> bool:
        """Tell whether each job has come to its end once."""
        finals = {line.number for line in self.lines() if _is_last(line)}
        return finals >= set(numbers)


class Repeats(NamedTuple):
    """Runs more than were due: of jobs that were inside `perform`, and of failures that were not yet written."""

    inside: int
    unwritten: int

    def __str__(self) -> str:
        return f"ran again {sum(self)} ({self.inside} inside perform, {self.unwritten} failed and not yet written)"


def settle_account(ledger: Ledger, redis: Any, numbers: Collection[int], killed: Collection[int] = (), threads: int = 0) -> Repeats:
    """Fail if a job of ChaosJob's mixture is lost, or has run again for no reason. Return what ran again for one.

    `killed`: pids that were killed, each of which had so many threads. A job runs again only if a killed process
    ran it: at most one a thread was inside `perform`, or so near its end that the journal does not say so yet; all
    others had failed right before the kill, so that it was not written yet. That what was written is not repeated
    shows in the events: see check_events.
    """
    lines = ledger.lines()
    runs: dict[int, list[Line]] = collections.defaultdict(list)
    for line in lines:
        if line.what == "began":
            runs[line.number].append(line)
    dead = collections.Counter(json.loads(raw)["args"][0] for raw in redis.zrange("dead", 0, -1))
    ended = {line.number for line in lines if line.what == "ended"}
    assert set(numbers) - ended - set(dead) == set(), "lost"
    assert dead == collections.Counter(n for n in numbers if LAST[kind_of(n)] == "dead")

    again = {number: len(began) - 1 - (kind_of(number) == "once") for number, began in runs.items()}
    assert min(again.values()) >= 0, "done without having run as often as it must"
    last_at = {line.pid: line.at for line in lines}
    ends: dict[tuple[int, int], list[Line]] = collections.defaultdict(list)
    for line in lines:
        if line.what != "began":
            ends[line.pid, line.number].append(line)

    def end_of(run: Line) -> Line | None:
        return next((end for end in ends[run.pid, run.number] if end.at >= run.at), None)

    def before_s(run: Line) -> float:
        """How long before the last sign of its process this run came to its end; 0 if it never did."""
        return last_at[run.pid] - end.at if (end := end_of(run)) else 0.0

    for number in again:
        if kind_of(number) == "once":  # any of its runs but the last may be the one that was cut short
            runs[number] = sorted(runs[number][:-1], key=lambda run: (run.pid not in killed, before_s(run)))
    repeated = [run for number in again for run in runs[number][: again[number]]]
    assert {run.number for run in repeated if run.pid not in killed} == set(), "ran again, and no kill is the reason"
    assert max(map(before_s, repeated), default=0.0) < UNWRITTEN_S, "ran again, and had ended long before the kill"
    inside = collections.Counter(run.pid for run in repeated if not (end := end_of(run)) or end.what != "failed")
    assert max(inside.values(), default=0) <= threads, "ran again, and was not inside perform"
    return Repeats(inside.total(), len(repeated) - inside.total())


def check_events(redis: Any, numbers: Collection[int]) -> int:
    """Fail unless the events are the acknowledged jobs, each exactly once. Return how many there are."""
    events = [tuple(pair) for _, fields in redis.xrange("sk:events") for pair in json.loads(fields[b"b"])]
    expected = [(n, LAST[kind_of(n)]) for n in numbers]
    expected += [(n, "retry") for n in numbers if kind_of(n) == "once"]
    assert collections.Counter(events) == collections.Counter(expected)
    return len(events)


def _is_last(line: Line) -> bool:
    return line.what == "ended" or (line.what == "failed" and LAST.get(kind_of(line.number)) == "dead")
