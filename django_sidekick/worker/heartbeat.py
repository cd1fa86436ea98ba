"""What a process says of itself every 10 s: its counts, and, where no supervisor shows it, its beat."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from django_sidekick.broker.beats import Counts, ProcessBeat
from django_sidekick.broker.ownership import Ownership
from django_sidekick.worker.display import BEAT_S, Display
from django_sidekick.worker.intake import Intake


class CountWriter:
    """Adds what has been run since the last time to Sidekiq's counters. A kill may lose one beat of them."""

    def __init__(self, ownership: Ownership, intake: Intake) -> None:
        self._beats = ProcessBeat(ownership.client, ownership.keys)
        self._patience = ownership.patience
        self._intake = intake
        self._written: tuple[int, int, dict[str, list[float]]] = (0, 0, {})
        self._writing = threading.Lock()

    def turn(self) -> float:
        """Write. Return the seconds until the next time."""
        self.write()
        return BEAT_S

    def write(self) -> None:
        """Write what is new. Counts that could not be written go with the next call."""
        with self._writing:
            processed, failed, classes = self._intake.tally.totals()
            processed_before, failed_before, classes_before = self._written
            changed = {
                name: [now - before for now, before in zip(values, known, strict=True)]
                for name, values in classes.items()
                if values != (known := classes_before.get(name) or [0] * len(values))
            }
            counts = Counts(processed - processed_before, failed - failed_before, changed)
            if not any(counts):
                return
            self._patience.call(lambda: self._beats.add_counts(counts, time.time()))
            self._written = (processed, failed, classes)


class Heartbeat:
    """Beats every 10 s, first at once; for a process without a supervisor."""

    def __init__(
        self,
        ownership: Ownership,
        intake: Intake,
        display: Display,
        on_signal: Callable[[str], None],
    ) -> None:
        self._ownership = ownership
        self._intake = intake
        self._display = display
        self._on_signal = on_signal
        self._identity = ownership.identity
        self._beating = threading.Lock()
        self._has_left = False

    def turn(self) -> float:
        """Beat once. Return the seconds until the next beat."""
        with self._beating:
            if not self._has_left:
                self._ownership.patience.call(self._beat)
        return BEAT_S

    def leave(self) -> None:
        """Sign off; a beat under way ends before, and none comes after."""
        with self._beating:
            self._has_left = True
            self._ownership.patience.call(lambda: self._display.leave(self._identity))

    def _beat(self) -> None:
        if self._identity != self._ownership.identity:
            self._display.leave(self._identity)
            self._identity = self._ownership.identity
        asked = self._display.beat(self._identity, self._intake.journal.running(), quiet=self._intake.quiet)
        if asked:
            self._on_signal(asked)
