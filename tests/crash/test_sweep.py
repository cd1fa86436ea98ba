"""Die at each call to Redis, before it and after it, and lose its reply: nothing is lost, little runs twice.

The ledger is a file outside of all that dies; the events are what the acknowledging script wrote.
"""

from __future__ import annotations

import collections
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from django_sidekick.broker import scripts
from django_sidekick.broker.pushing import MANY
from tests.conftest import SERVER, wait_until
from tests.crash.jobs import AsyncLedgerJob, LedgerJob, PatientLedgerJob
from tests.crash.ledger import Line, lines_of
from tests.crash.proxy import TOGETHER, Point, Proxy
from tests.workers import shorten_leases

ROOT = Path(__file__).resolve().parent.parent.parent
ACTIONS = ("before", "after", "cut")
MOST_CALLS = 4
NEARLY_S = 0.005
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


def has_ended(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return False


class Life:
    """Jobs that end in each way, fetched, settled, retried, moved when due, until all is done."""

    name = "life"
    words = {"drain": True, "concurrency": 2}
    kinds = {**dict.fromkeys(range(8), "ok"), 8: "fails", 9: "drops", 10: "fails once", 11: "fails", 12: "async", 13: "async", 15: "takes 50 ms"}

    def prepare(self, redis: Any) -> None:
        for number, kind in self.kinds.items():
            job_class = {"fails once": PatientLedgerJob, "async": AsyncLedgerJob}.get(kind, LedgerJob)
            job_class.perform_later(number, kind)
        LedgerJob.set(wait=0.1).perform_later(14, "ok")
        redis.lpush("queue:default", "{bad")

    def during(self, redis: Any, pid: int, zygote: Zygote) -> None:
        pass

    @property
    def numbers(self) -> set[int]:
        return {*self.kinds, 14}

    dead = {8, 11}


class Shutdown(Life):
    """A long job, others fetched behind it, and TERM."""

    name = "shutdown"
    words = {"concurrency": 1, "timeout_s": 0.2}
    kinds = {0: "slow", **dict.fromkeys(range(1, 6), "ok")}
    dead: set[int] = set()
    numbers = {*range(6)}

    def prepare(self, redis: Any) -> None:
        LedgerJob.perform_bulk(list(self.kinds.items()))

    def during(self, redis: Any, pid: int, zygote: Zygote) -> None:
        wait_until(lambda: zygote.ledger() or has_ended(pid), "the first job to begin")
        if not has_ended(pid):
            os.kill(pid, signal.SIGTERM)


class Recovery(Life):
    """Another process has died with jobs: finished, running and not begun."""

    name = "recovery"
    words = {"drain": True, "concurrency": 1}
    kinds = dict.fromkeys(range(6), "ok")
    dead: set[int] = set()
    numbers = {*range(6)}

    def __init__(self, runtime_dir: Path) -> None:
        self._runtime_dir = runtime_dir

    def prepare(self, redis: Any) -> None:
        from dataclasses import replace

        from django_sidekick.conf import get_settings
        from tests.worker.test_recovery import Dead

        LedgerJob.perform_bulk(list(self.kinds.items()))
        dead = Dead(replace(get_settings(), runtime_dir=self._runtime_dir))
        jobs = dead.fetch(6)
        for delivery in jobs[:2]:
            number = json.loads(delivery.raw)["args"][0]
            dead.journal.mark_finished(delivery.tag, 1.0, 1.0)
            with (self._runtime_dir.parent / "ledger").open("a") as ledger:
                ledger.write(f"began {number} 1.0 1\nended {number} 1.0 1\n")
        dead.journal.tags[0] = jobs[2].tag
        shorten_leases(redis)


def run(scenario: Life, redis: Any, zygote: Zygote, point: Point | None) -> collections.Counter[str]:
    """Let a worker live through the proxy, die at the point, and another finish. Check the ledger. Return the calls."""
    redis.flushall()
    zygote.clean()
    scenario.prepare(redis)
    proxy = Proxy(SERVER[0].port, point)
    first = zygote.start("worker", proxy.port, **scenario.words)
    proxy.victim = first
    scenario.during(redis, first, zygote)
    if point is None or point.action == "cut":
        wait_until(lambda: has_ended(first), f"the worker to end: {point}", 60)
    else:
        wait_until(lambda: proxy.has_struck.is_set() or has_ended(first), f"{point}", 30)
        wait_until(lambda: has_ended(first), "the death", 10)
    died = min(time.monotonic(), proxy.struck_at)
    proxy.close()
    shorten_leases(redis)
    finish(redis, zygote)
    check(scenario, redis, zygote, died, point)
    return proxy.calls


def finish(redis: Any, zygote: Zygote) -> None:
    """Let workers drain until nothing is left; one does not wait for a retry that is not due yet."""
    is_left = True
    while is_left:
        pid = zygote.start("worker", SERVER[0].port, drain=True, concurrency=2)
        wait_until(lambda p=pid: has_ended(p), "another worker to end", 60)
        is_left = redis.exists("retry", "schedule", "queue:default")


def check(scenario: Life, redis: Any, zygote: Zygote, died: float, point: Point | None) -> None:
    where = f"{scenario.name}, {point}\n{zygote.log()}\n{zygote.ledger()}"
    assert "Traceback" not in zygote.log(), where
    lines = zygote.ledger()
    began = collections.Counter(line.number for line in lines if line.what == "began")
    ended = collections.Counter(line.number for line in lines if line.what == "ended")
    dead = [json.loads(raw)["args"][0] for raw in redis.zrange("dead", 0, -1) if raw != b"{bad"]
    assert set(ended) == scenario.numbers - scenario.dead, f"lost: {where}"
    assert sorted(dead) == sorted(scenario.dead), where
    if scenario.name == "life":
        assert redis.zrange("dead", 0, -1).count(b"{bad") == 1, where
    for name in ("queue:default", "schedule", "retry"):
        assert not redis.exists(name), where
    check_repeats(scenario, lines, began, died, where)
    check_events(scenario, redis, where)


def check_repeats(scenario: Life, lines: list[Line], began: Any, died: float, where: str) -> None:
    """Only what was inside perform, or whose failure was not written yet, has run again; a cut kills nobody."""
    for number, count in began.items():
        expected = 2 if scenario.kinds.get(number) == "fails once" else 1
        if count == expected:
            continue
        assert count == expected + 1, where
        first_end = next((line.at for line in lines if line.what == "ended" and line.number == number), died)
        was_inside = first_end > died - NEARLY_S or scenario.name == "shutdown"
        assert was_inside or scenario.kinds.get(number, "ok") in {"fails", "fails once"}, f"ran again: {number} {where}"


def check_events(scenario: Life, redis: Any, where: str) -> None:
    """Each job has one last event: its acknowledgement and its event are one step."""
    events = [pair for _, fields in redis.xrange("sk:events") for pair in json.loads(fields[b"b"])]
    last = collections.Counter((number, kind) for number, kind in events if kind != "retry")
    expected = {
        number: "dead" if number in scenario.dead else "discarded" if scenario.kinds.get(number) == "drops" else "done"
        for number in scenario.numbers
    }
    assert last == collections.Counter(expected.items()), f"events: {where}"
    retried = collections.Counter(number for number, kind in events if kind == "retry")
    assert retried == {n: 1 for n, kind in scenario.kinds.items() if kind == "fails once"}, where


def points_of(calls: collections.Counter[str]) -> list[Point]:
    """The first calls of each script and its last one."""
    numbers = {s: {*range(1, min(n, MOST_CALLS) + 1), n} for s, n in calls.items() if s not in {"lead", "renew", TOGETHER}}
    return [Point(s, n, action) for s in sorted(numbers) for n in sorted(numbers[s]) for action in ACTIONS]


@pytest.mark.parametrize("name", ["life", "shutdown", "recovery"])
def test_each_call_of_a_worker(redis, zygote, name, capsys):
    scenario = {"life": Life(), "shutdown": Shutdown()}.get(name) or Recovery(zygote.folder / "run")
    points = points_of(run(scenario, redis, zygote, None))
    for point in points:
        run(scenario, redis, zygote, point)

    kills = sum(point.action != "cut" for point in points)
    scripts = sorted({point.script for point in points})
    with capsys.disabled():
        print(f"\n{name}: {len(points)} points, {kills} kills, at {', '.join(scripts)}: lost 0")
    wanted = {
        "life": {"register", "fetch", "acknowledge", "enqueue_due", "recover"},
        "shutdown": {"give_back", "recover"},
        "recovery": {"fence", "settle_dead", "recover"},
    }
    assert wanted[name] <= set(scripts)
    assert kills > 0


@pytest.mark.parametrize("action", ACTIONS)
@pytest.mark.parametrize(("kind", "size"), [("push", 3), (TOGETHER, MANY)])
def test_each_call_of_a_client(redis, zygote, kind, size, action, capsys):
    redis.script_load(scripts.load("push").text)  # or the first push would be two calls
    for number in range(1, 5):
        redis.flushall()
        zygote.clean()
        proxy = Proxy(SERVER[0].port, Point(kind, number, action))
        pid = zygote.start("client", proxy.port, jobs=4, size=size)
        proxy.victim = pid
        wait_until(lambda p=pid: has_ended(p), "the client to end")
        proxy.close()
        assert proxy.has_struck.is_set()

        pushed = {line.number for line in zygote.ledger()}
        there = collections.Counter(json.loads(raw)["args"][0] for raw in redis.lrange("queue:default", 0, -1))
        returned = {n * size + more for n in pushed for more in range(size)}
        assert returned <= set(there), "a push that returned is lost"
        assert set(there.values()) == {1} or not there, "pushed twice"
        assert len(there) % size == 0, "half a push"
        assert len(there) == {"before": number * size - size, "after": number * size, "cut": 4 * size}[action]
    with capsys.disabled():
        print(f"\nclient: 4 points of {kind}, {action}: lost 0")
