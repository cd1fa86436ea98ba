"""Jobs of the crash tests: they take real time."""

from __future__ import annotations

import asyncio
import json
import os
import time
from collections.abc import Sequence
from pathlib import Path

from django_sidekick import BaseJob, Discard, Retry
from django_sidekick.broker.broker import get_broker
from django_sidekick.exceptions import Shutdown
from django_sidekick.wire.outcome import Outcome


class SleepJob(BaseJob):
    """Take 20 ms, then say so; the saying is repeated when the connection is cut."""

    def perform(self, number: int) -> None:
        time.sleep(0.02)
        broker = get_broker()
        broker.patience.call(lambda: broker.client.rpush("ran", number), deadline=broker.deadline() + 20)

    @staticmethod
    def pause(seconds: float) -> None:
        time.sleep(seconds)


LINE_BYTES = 64
"""Of a line in the ledger: a page holds whole lines only, for a kill can cut a write in two where a page ends."""


def note(what: str, number: int) -> None:
    """Write a line into the ledger: a file outside of all that is killed."""
    path = os.environ.get("SIDEKICK_TEST_LEDGER")
    if path:
        line = f"{what} {number} {time.monotonic()} {os.getpid()}".ljust(LINE_BYTES - 1) + "\n"
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.write(descriptor, line.encode())
        os.close(descriptor)


def has_begun(number: int) -> bool:
    """Tell whether the ledger knows of a run of this job."""
    lines = Path(os.environ["SIDEKICK_TEST_LEDGER"]).read_text().splitlines()
    return any(line.split()[:2] == ["began", str(number)] for line in lines)


def gate_of(ledger: Path) -> Path:
    """Return the file that held jobs wait for."""
    return ledger.with_name("gate")


def events_of(worker: str, outcomes: Sequence[Outcome]) -> bytes:
    """One blob: which job ended how."""
    named = [[json.loads(o.delivery.raw)["args"][0], o.kind] for o in outcomes if o.payload]
    return json.dumps(named).encode()


class LedgerJob(BaseJob):
    """Say in the ledger when it begins and how it goes, and end as `kind` says."""

    retry = 0

    def perform(self, number: int, kind: str) -> None:
        is_first = kind != "is shut" or not has_begun(number)
        note("began", number)
        if kind == "takes 50 ms":  # so long that it ends alone, and is acknowledged without a fetch
            time.sleep(0.05)
        if kind == "slow":
            time.sleep(0.5)
        while kind == "held" and not gate_of(Path(os.environ["SIDEKICK_TEST_LEDGER"])).exists():
            time.sleep(0.005)
        if kind == "is shut" and is_first:
            note("released", number)
            raise Shutdown
        if kind.startswith("fails") and (kind != "fails once" or self.attempt == 1):
            note("failed", number)
            raise Retry(wait=0.05) if kind == "fails once" else ValueError(f"{number} fails")
        note("ended", number)
        if kind == "drops":
            raise Discard


class PatientLedgerJob(LedgerJob):
    retry = 3


class LooseLedgerJob(LedgerJob):
    """Nothing is kept of its failure."""

    retry = False


class AsyncLedgerJob(BaseJob):
    async def perform(self, number: int, kind: str) -> None:
        note("began", number)
        await asyncio.sleep(0.001)
        note("ended", number)


LASTS_S = {"brief": 0.005, "dies late": 0.02, "waits late": 0.02}
KINDS = {0: "once", 1: "dies", 2: "brief", 3: "drops", 4: "brief", 5: "dies late"}


def kind_of(number: int) -> str:
    """The mixture of the chaos tests: of 40 jobs 34 do nothing, the others take time, fail, or are dropped."""
    return KINDS.get(number % 40, "ok")


class ChaosJob(BaseJob):
    """Say in the ledger when it begins, and how it goes: ended, or failed, which is said before the error."""

    def perform(self, number: int, kind: str) -> None:
        note("began", number)
        if kind in LASTS_S:
            time.sleep(LASTS_S[kind])
        fails = kind.startswith(("dies", "waits")) or (kind == "once" and self.attempt == 1)
        note("failed" if fails else "ended", number)
        if kind == "drops":
            raise Discard
        if fails:
            raise Retry(wait=0.05) if kind == "once" else Retry(wait=3600) if "waits" in kind else ValueError(kind)

    def retry_in(self, count: int, error: BaseException) -> float | str | None:
        return "kill"
