"""The jobs that are measured: they do nothing, or say when."""

from __future__ import annotations

import time
from functools import cache
from typing import Any

from benchmarks.common import Board
from django_sidekick import BaseJob


class Noop(BaseJob):
    def perform(self, *args: Any) -> None:
        pass


class AsyncNoop(BaseJob):
    async def perform(self, *args: Any) -> None:
        pass


class Sleep(BaseJob):
    def perform(self, seconds: float) -> None:
        time.sleep(seconds)


class Stamp(BaseJob):
    """Write the moment into one place of a board."""

    def perform(self, path: str, place: int) -> None:
        board(path).write(place, time.monotonic())


@cache
def board(path: str) -> Board:
    return Board(path)
