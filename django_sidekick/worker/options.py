"""How one worker is to run: command line over sidekiq.yml over settings, as one value."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from django_sidekick.conf import Settings


class Sizes(NamedTuple):
    """How many jobs one process may run at once: in threads, and as coroutines on the loop."""

    threads: int
    coroutines: int


@dataclass(frozen=True, slots=True)
class WorkerOptions:
    """What `runworker` was asked for. `queues`: names and weights, all weights 0 for strict order."""

    settings: Settings
    queues: tuple[tuple[str, int], ...]
    concurrency: int
    shutdown_timeout_s: float
    processes: int = 0
    tag: str = ""
    labels: tuple[str, ...] = ()
    drain: bool = False
    verbose: bool = False
    config_file: Path | None = None

    @property
    def sizes(self) -> Sizes:
        """How many jobs one process may run at once."""
        return Sizes(self.concurrency, self.settings.async_concurrency)
