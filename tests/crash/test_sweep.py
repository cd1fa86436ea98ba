"""Die at each call to Redis, before it and after it, and lose its reply: nothing is lost, little runs twice.

The ledger is a file outside of all that dies; the events are what the acknowledging script wrote.
"""

from __future__ import annotations

import collections
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from django_sidekick.broker import scripts
from django_sidekick.broker.pushing import MANY
from tests.conftest import SERVER, wait_until
from tests.crash.ledger import Line, lines_of
from tests.crash.lives import Life, Recovery, Shutdown, has_ended
from tests.crash.proxy import NAMES, TOGETHER, Point, Proxy, carrying
from tests.workers import shorten_leases

ROOT = Path(__file__).resolve().parent.parent.parent
ACTIONS = ("before", "after", "cut")
MOST_CALLS = 3
NEARLY_S = 0.02
"""A job that ended so shortly before the kill may not have been marked as finished yet."""


class Zygote:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.crash.zygote"], cwd=ROOT, text=True,
            env={**os.environ, "DJANGO_SETTINGS_MODULE": "tests.settings"},
            stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        )  # fmt: skip

    def start(self, role: str, port: int, **words: Any) -> int:
        order = {
            "role": role, "url": f"redis://127.0.0.1:{port}/0", "ledger": str(self.folder / "ledger"),
            "log": str(self.folder / "log"), "runtime_dir": str(self.folder / "run"), "words": words,
        }  # fmt: skip
        self.process.stdin.write(json.dumps(order) + "\n")
        self.process.stdin.flush()
        return int(self.process.stdout.readline())

    def ledger(self) -> list[Line]:
        path = self.folder / "ledger"
        return lines_of(path) if path.exists() else []

    def log(self) -> str:
        path = self.folder / "log"
        return path.read_text() if path.exists() else ""

    def clean(self) -> None:
        for name in ("ledger", "log"):
            (self.folder / name).unlink(missing_ok=True)

    def close(self) -> None:
        self.process.stdin.close()
        self.process.wait(30)


@pytest.fixture(scope="module")
def zygote(tmp_path_factory):
    started = Zygote(tmp_path_factory.mktemp("sweep"))
    yield started
    started.close()


class Account(NamedTuple):
    """What came of one life: the calls that were made, and whether the point was reached."""

    calls: collections.Counter[str]
    was_struck: bool


def run(scenario: Life, redis: Any, zygote: Zygote, point: Point | None) -> Account:
    """Let a worker live through the proxy, die at the point, and another finish. Check the ledger."""
    redis.flushall()
    zygote.clean()
    scenario.prepare(redis)
    proxy = Proxy(SERVER[0].port, point)
    first = zygote.start("worker", proxy.port, **scenario.words)
    proxy.victim = first
    scenario.during(first, zygote.ledger)
    wait_until(lambda: has_ended(first), f"the worker to end: {point}", 60)
    proxy.close()
    shorten_leases(redis)
    finish(redis, zygote)
    where = f"{scenario.name}, {point}\n{zygote.log()}\n{zygote.ledger()}"
    check(scenario, redis, zygote, where)
    was_killed = proxy.has_struck.is_set() and point is not None and point.action != "cut"
    check_repeats(scenario, zygote.ledger(), proxy, first if was_killed else None, where)
    check_events(scenario, redis, where)
    return Account(proxy.calls, proxy.has_struck.is_set())


def finish(redis: Any, zygote: Zygote) -> None:
    """Let workers drain until nothing is left; one does not wait for a retry that is not due yet."""
    is_left = True
    while is_left:
        pid = zygote.start("worker", SERVER[0].port, drain=True, concurrency=2)
        wait_until(lambda p=pid: has_ended(p), "another worker to end", 60)
        is_left = redis.exists("retry", "schedule", "queue:default")


def check(scenario: Life, redis: Any, zygote: Zygote, where: str) -> None:
    """Each job has come to its end, and nothing is left of it anywhere else."""
    assert "\nTraceback" not in zygote.log(), where
    ended = {line.number for line in zygote.ledger() if line.what == "ended"}
    failed = {line.number for line in zygote.ledger() if line.what == "failed"}
    by_end = {end: {n for n in scenario.kinds if scenario.end_of(n) == end} for end in ("done", "discarded", "dead", "failed")}
    assert ended == by_end["done"] | by_end["discarded"], f"lost: {where}"
    assert failed >= by_end["dead"] | by_end["failed"], f"lost: {where}"
    dead = redis.zrange("dead", 0, -1)
    assert sorted(json.loads(raw)["args"][0] for raw in dead if raw != b"{bad") == sorted(by_end["dead"]), where
    assert dead.count(b"{bad") == (scenario.name == "life"), where
    for name in ("queue:default", "schedule", "retry"):
        assert not redis.exists(name), where


def check_repeats(scenario: Life, lines: list[Line], proxy: Proxy, killed: int | None, where: str) -> None:
    """A job runs again only if the killed process had begun it and not written how it went.

    So does what was inside `perform`, what failed, and what ended so shortly before the kill that the journal does not
    say so yet: with what was inside, no more than there are threads. Nobody else runs anything again; a cut kills nobody.
    """
    inside = 0
    for number in scenario.kinds:
        began = [line for line in lines if line.what == "began" and line.number == number]
        due, mine = scenario.runs_of(number), [line for line in began if line.pid == killed]
        assert len(began) >= due, f"not run: {number} {where}"
        if len(began) == due:
            continue
        if killed is None:
            assert number in scenario.pushed_back, f"ran again, and nobody was killed: {number} {where}"
            assert len(began) == due + 1, where
            continue
        assert len(began) == due + 1, f"ran again twice for one kill: {number} {where}"
        assert proxy.written[number] < len(mine), f"ran again, and was acknowledged: {number} {where}"
        ends = [line for line in lines if line.what != "began" and line.number == number and line.pid == killed]
        if len(ends) < len(mine):
            inside += 1
        elif ends[-1].what == "ended":
            assert ends[-1].at > proxy.struck_at - NEARLY_S, f"ran again, and had ended: {number} {where}"
            inside += 1
    assert inside <= scenario.most_inside, f"{inside} inside perform: {where}"


def check_events(scenario: Life, redis: Any, where: str) -> None:
    """Each job has one last event: its acknowledgement and its event are one step."""
    events = [pair for _, fields in redis.xrange("sk:events") for pair in json.loads(fields[b"b"])]
    last = collections.Counter((number, kind) for number, kind in events if kind != "retry")
    assert last == {(number, scenario.end_of(number)): 1 for number in scenario.kinds}, f"events: {where}"
    retried = collections.Counter(number for number, kind in events if kind == "retry")
    assert retried == {n: 1 for n, kind in scenario.kinds.items() if kind == "fails once"}, where


def points_of(scenario: Life, calls: collections.Counter[str]) -> list[Point]:
    """The first calls of each script and its last one; and the first that carries each outcome."""
    numbers = {s: {*range(1, min(n, MOST_CALLS) + 1), n} for s, n in calls.items() if s in NAMES.values()}
    numbers |= {script: {1} for script in ("renew", "lead")}
    numbers |= {carrying(kind): {1} for kind in scenario.carried}
    scripts = sorted(numbers.keys() - ({"renew", "lead"} - {*scenario.once}))
    return [Point(s, n, action) for s in scripts for n in sorted(numbers[s]) for action in ACTIONS]


@pytest.mark.parametrize("name", ["life", "shutdown", "recovery"])
def test_each_call_of_a_worker(redis, zygote, name, capsys):
    scenario = {"life": Life(), "shutdown": Shutdown()}.get(name) or Recovery(zygote.folder / "run")
    for script in NAMES.values():  # a first call that Redis does not know would be two
        redis.script_load(scripts.load(script).text)
    points = points_of(scenario, run(scenario, redis, zygote, None).calls)
    struck = [point for point in points if run(scenario, redis, zygote, point).was_struck]

    kills = sum(point.action != "cut" for point in struck)
    cuts, missed = len(struck) - kills, len(points) - len(struck)
    reached = sorted({point.script for point in struck})
    with capsys.disabled():
        print(f"\n{name}: {len(struck)} points, {kills} kills, {cuts} cuts, {missed} points not reached, at {', '.join(reached)}: lost 0")
    wanted = {
        "life": {"register", "fetch", "acknowledge", "enqueue_due", "recover", "renew", "lead"},
        "shutdown": {"give_back", "recover"},
        "recovery": {"fence", "settle_dead", "recover"},
    }
    assert wanted[name] <= set(reached)
    assert {(carrying(kind), action) for kind in scenario.carried for action in ACTIONS} <= {(p.script, p.action) for p in struck}
    assert min(kills, cuts) > 0
    assert missed < len(struck), "how often a call is made is a matter of time, but not of so much"


PUSHES = {"a few": ("push", 3, 0.0), "many together": (TOGETHER, MANY, 0.0), "scheduled": ("push", 3, 3600.0)}


@pytest.mark.parametrize("action", ACTIONS)
@pytest.mark.parametrize("kind", PUSHES)
def test_each_call_of_a_client(redis, zygote, kind, action, capsys):
    redis.script_load(scripts.load("push").text)  # as above
    struck, (script, size, wait_s) = 0, PUSHES[kind]
    for number in range(1, 5):
        redis.flushall()
        zygote.clean()
        proxy = Proxy(SERVER[0].port, Point(script, number, action))
        pid = zygote.start("client", proxy.port, jobs=4, size=size, wait_s=wait_s)
        proxy.victim = pid
        wait_until(lambda p=pid: has_ended(p), "the client to end")
        proxy.close()
        struck += proxy.has_struck.is_set()

        pushed = {line.number for line in zygote.ledger()}
        raws = redis.zrange("schedule", 0, -1) if wait_s else redis.lrange("queue:default", 0, -1)
        there = collections.Counter(json.loads(raw)["args"][0] for raw in raws)
        returned = {n * size + more for n in pushed for more in range(size)}
        assert returned <= set(there), "a push that returned is lost"
        assert set(there.values()) == {1} or not there, "pushed twice"
        assert len(there) % size == 0, "half a push"
        assert len(there) == {"before": number * size - size, "after": number * size, "cut": 4 * size}[action]
        assert len(pushed) == (4 if action == "cut" else number - 1)
    with capsys.disabled():
        print(f"\nclient, {kind}: {struck} points, {0 if action == 'cut' else struck} kills, {struck if action == 'cut' else 0} cuts, {action}: lost 0")
    assert struck == 4
