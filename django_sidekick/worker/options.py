"""How one worker is to run: command line over sidekiq.yml over settings, as one value."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

from django_sidekick.broker.quarantine import quarantine_of
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

    @property
    def queue_names(self) -> list[str]:
        """The queues, without their weights."""
        return [name for name, _ in self.queues]

    @property
    def quarantined(self) -> list[str]:
        """The queues whose suspects this worker runs apart: all, if it has a supervisor to fork a process for them."""
        return self.queue_names if self.processes else []

    @property
    def of_quarantine(self) -> WorkerOptions:
        """How the process runs that takes the suspects: one at a time, until none is left."""
        return replace(
            self,
            settings=replace(self.settings, async_concurrency=0, child_max_jobs=None),
            queues=tuple((quarantine_of(name), weight) for name, weight in self.queues),
            concurrency=1,
            processes=0,
            drain=True,
        )
