"""The beat: what Sidekiq's pages show of this process, the counts since the last one, remote signals."""

from __future__ import annotations

import json
import os
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from django_sidekick.broker.beats import Counts, ProcessBeat
from django_sidekick.broker.ownership import Ownership
from django_sidekick.broker.patience import Patience
from django_sidekick.worker import turns
from django_sidekick.worker.intake import Intake
from django_sidekick.worker.tally import totals

BEAT_S = 10.0
WIRE_VERSION = "8.1.7"
_BASE_36 = "0123456789abcdefghijklmnopqrstuvwxyz"


@dataclass(frozen=True, slots=True)
class ProcessInfo:
    """What does not change while the process lives."""

    queues: tuple[tuple[str, int], ...]
    concurrency: int
    tag: str
    labels: tuple[str, ...]
    started_at_s: float

    def as_json(self, identity: str) -> str:
        """Return Sidekiq's `info`: new readers want `capsules`, old ones `queues` and `weights` beside it."""
        weights = dict(self.queues)
        capsule = {
            "concurrency": self.concurrency,
            "mode": turns.mode(self.queues),
            "weights": weights,
        }
        fields: dict[str, Any] = {
            "hostname": os.environ.get("DYNO") or socket.gethostname(),
            "started_at": self.started_at_s,
            "pid": os.getpid(),
            "tag": self.tag,
            "concurrency": self.concurrency,
            "capsules": {"default": capsule},
            "queues": list(weights),
            "weights": [weights],
            "labels": list(self.labels),
            "identity": identity,
            "version": WIRE_VERSION,
            "embedded": False,
        }
        return json.dumps(fields, separators=(",", ":"))


class Heartbeat:
    """Beat every 10 s, first at once. Counts that could not be written go with the next beat."""

    def __init__(
        self,
        ownership: Ownership,
        intake: Intake,
        info: ProcessInfo,
        patience: Patience,
        on_signal: Callable[[str], None],
    ) -> None:
        self._ownership = ownership
        self._intake = intake
        self._info = info
        self._patience = patience
        self._on_signal = on_signal
        self._beats = ProcessBeat(ownership.client, ownership.keys)
        self._written: tuple[int, int, dict[str, list[float]]] = (0, 0, {})
        self._identity = ownership.identity
        self._beating = threading.Lock()
        self._has_left = False

    def turn(self) -> float:
        """Beat once. Return the seconds until the next beat."""
        with self._beating:
            if not self._has_left:
                self._beat()
        return BEAT_S

    def leave(self) -> None:
        """Write the last counts and sign off; a beat under way ends before, and none comes after."""
        with self._beating:
            self._has_left = True
            self._write_counts()
            self._patience.call(lambda: self._beats.leave(self._identity))

    def _beat(self) -> None:
        self._write_counts()
        if self._identity != self._ownership.identity:
            self._patience.call(lambda: self._beats.leave(self._identity))
            self._identity = self._ownership.identity
        self._patience.call(self._beats.prune)
        work = self._work()
        fields = self._fields(busy=len(work))
        asked = self._patience.call(lambda: self._beats.beat(self._identity, fields, work))
        if asked:
            self._on_signal(asked)

    def _write_counts(self) -> None:
        """Add what has been run since the last time to Sidekiq's counters. A kill may lose one beat of them."""
        processed, failed, classes = totals(self._intake.tallies)
        processed_before, failed_before, classes_before = self._written
        changed = {
            name: [now - before for now, before in zip(values, known, strict=True)]
            for name, values in classes.items()
            if values != (known := classes_before.get(name) or [0] * len(values))
        }
        counts = Counts(processed - processed_before, failed - failed_before, changed)
        self._patience.call(lambda: self._beats.add_counts(counts, time.time()))
        self._written = (processed, failed, classes)

    def _fields(self, *, busy: int) -> dict[str, str]:
        return {
            "info": self._info.as_json(self._identity),
            "concurrency": str(self._info.concurrency),
            "busy": str(busy),
            "beat": repr(time.time()),
            "rtt_us": str(self._patience.call(self._beats.round_trip_us)),
            "quiet": "true" if self._intake.quiet else "false",
            "rss": str(resident_kib()),
        }

    def _work(self) -> dict[str, bytes]:
        work = {}
        for slot, job in enumerate(self._intake.running):
            if job is not None:
                entry = {
                    "queue": job.delivery.queue,
                    "payload": job.delivery.raw.decode(errors="replace"),
                    "run_at": int(job.since_s),
                }
                work[thread_id(slot)] = json.dumps(entry, separators=(",", ":")).encode()
        return work


def thread_id(slot: int) -> str:
    """Return a short name of a thread, in base 36 as Sidekiq writes it, different in each process."""
    number, text = (os.getpid() << 8) | slot, ""
    while number:
        number, digit = divmod(number, 36)
        text = _BASE_36[digit] + text
    return text


def resident_kib() -> int:
    """Return the resident memory of this process in KiB; 0 where /proc is missing."""
    try:
        pages = int(Path("/proc/self/statm").read_text("ascii").split()[1])
    except (OSError, ValueError, IndexError):
        return 0
    return pages * os.sysconf("SC_PAGE_SIZE") // 1024
