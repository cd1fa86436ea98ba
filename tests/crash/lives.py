"""What the sweep's workers live through, and how each of its jobs must have ended."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

from django_sidekick.conf import get_settings
from django_sidekick.wire.outcome import Kind
from tests.conftest import wait_until
from tests.crash.jobs import AsyncLedgerJob, LedgerJob, LooseLedgerJob, PatientLedgerJob
from tests.worker.test_recovery import Dead
from tests.workers import shorten_leases

KINDS: tuple[Kind, ...] = get_args(Kind)
ENDS = {"drops": "discarded", "fails": "dead", "fails for good": "failed"}
"""How a job of a kind ends, if it is not done."""

TWICE = {"fails once": "retry", "is shut": "released"}
"""Kinds that are to run twice, and how the first run ends."""


def has_ended(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return False


class Life:
    """Jobs that end in each way, fetched, settled, retried, moved when due, until all is done."""

    name = "life"
    words: Mapping[str, Any] = {"drain": True, "concurrency": 2}
    kinds: Mapping[int, str] = {
        **dict.fromkeys(range(8), "ok"), 8: "fails", 9: "drops", 10: "fails once", 11: "fails", 12: "async", 13: "async",
        14: "ok", 15: "takes 50 ms", 16: "fails for good", 17: "is shut",
    }  # fmt: skip
    carried: tuple[str, ...] = KINDS
    """The outcomes that some call must carry."""

    once = ("renew", "lead")
    """Scripts whose number of calls is a matter of time: the first is a point."""

    pushed_back: frozenset[int] = frozenset()
    """What runs again though nobody was killed."""

    def prepare(self, redis: Any) -> None:
        classes = {"fails once": PatientLedgerJob, "async": AsyncLedgerJob, "fails for good": LooseLedgerJob}
        for number, kind in self.kinds.items():
            job_class = classes.get(kind, LedgerJob)
            (job_class.set(wait=0.1) if number == 14 else job_class).perform_later(number, kind)
        redis.lpush("queue:default", "{bad")

    def during(self, pid: int, has_begun: Callable[[], Any]) -> None:
        """Do to the worker what belongs to its life."""

    def end_of(self, number: int) -> str:
        return ENDS.get(self.kinds[number], "done")

    def runs_of(self, number: int) -> int:
        return 2 if self.kinds[number] in TWICE else 1

    @property
    def most_inside(self) -> int:
        """Jobs that one kill can find inside `perform`."""
        return int(self.words["concurrency"]) + list(self.kinds.values()).count("async")


class Shutdown(Life):
    """A long job, others fetched behind it, and TERM."""

    name = "shutdown"
    words = {"concurrency": 1, "timeout_s": 0.2}
    kinds = {0: "slow", **dict.fromkeys(range(1, 6), "ok")}
    carried = ()
    once = ()
    pushed_back = frozenset({0})

    def prepare(self, redis: Any) -> None:
        LedgerJob.perform_bulk(list(self.kinds.items()))

    def during(self, pid: int, has_begun: Callable[[], Any]) -> None:
        wait_until(lambda: has_begun() or has_ended(pid), "the first job to begin")
        if not has_ended(pid):
            os.kill(pid, signal.SIGTERM)


class Recovery(Life):
    """Another process has died with jobs: finished, running and not begun."""

    name = "recovery"
    words = {"drain": True, "concurrency": 1}
    kinds = dict.fromkeys(range(6), "ok")
    carried = ("done",)
    once = ()

    def __init__(self, runtime_dir: Path) -> None:
        self._runtime_dir = runtime_dir

    def prepare(self, redis: Any) -> None:
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
