"""Jobs of the crash tests: they take real time."""

from __future__ import annotations

import asyncio
import json
import os
import time
from collections.abc import Sequence

from django_sidekick import BaseJob, Discard, Retry
from django_sidekick.broker.broker import get_broker
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


def note(what: str, number: int) -> None:
    """Write a line into the ledger: a file outside of all that is killed."""
    path = os.environ.get("SIDEKICK_TEST_LEDGER")
    if path:
        line = f"{what} {number} {time.monotonic()} {os.getpid()}\n"
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.write(descriptor, line.encode())
        os.close(descriptor)


def events_of(outcomes: Sequence[Outcome]) -> bytes:
    """One blob: which job ended how."""
    named = [[json.loads(o.delivery.raw)["args"][0], o.kind] for o in outcomes if o.payload]
    return json.dumps(named).encode()


class LedgerJob(BaseJob):
    """Say in the ledger when it begins and ends, and end as `kind` says."""

    retry = 0

    def perform(self, number: int, kind: str) -> None:
        note("began", number)
        if kind == "takes 50 ms":  # so long that it ends alone, and is acknowledged without a fetch
            time.sleep(0.05)
        if kind == "slow":
            time.sleep(1.0)
        if kind == "fails once" and self.attempt == 1:
            raise Retry(wait_s=0.05)
        if kind == "fails":
            raise ValueError(f"{number} fails")
        if kind == "drops":
            note("ended", number)
            raise Discard
        note("ended", number)


class PatientLedgerJob(LedgerJob):
    retry = 3


class AsyncLedgerJob(BaseJob):
    async def perform(self, number: int, kind: str) -> None:
        note("began", number)
        await asyncio.sleep(0.001)
        note("ended", number)
