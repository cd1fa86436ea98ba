"""The job that does nothing."""

from __future__ import annotations

from typing import Any

from django_sidekick import BaseJob


class Noop(BaseJob):
    def perform(self, *args: Any) -> None:
        pass


class AsyncNoop(BaseJob):
    async def perform(self, *args: Any) -> None:
        pass
