"""The harness' three jobs, as job classes: functions in threads, coroutines on the loop."""

from __future__ import annotations

import jobs

from django_sidekick import BaseJob


class Noop(BaseJob):
    def perform(self, i: int) -> None:
        jobs.noop(i)


class Sleep10(BaseJob):
    def perform(self, i: int) -> None:
        jobs.sleep10(i)


class Crash20(BaseJob):
    def perform(self, i: int) -> None:
        jobs.crash20(i)


class AsyncNoop(BaseJob):
    async def perform(self, i: int) -> None:
        await jobs.anoop(i)


class AsyncSleep10(BaseJob):
    async def perform(self, i: int) -> None:
        await jobs.asleep10(i)


class AsyncCrash20(BaseJob):
    async def perform(self, i: int) -> None:
        await jobs.acrash20(i)


SYNC = {"noop": Noop, "sleep10": Sleep10, "crash20": Crash20}
ASYNC = {"noop": AsyncNoop, "sleep10": AsyncSleep10, "crash20": AsyncCrash20}
