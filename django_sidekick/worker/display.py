"""How one process looks in Sidekiq's pages: its hash, its work. Read from its journal, so from outside too."""

from __future__ import annotations

import json
import os
import socket
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from django_sidekick.broker.beats import ProcessBeat
from django_sidekick.wire.outcome import queue_index
from django_sidekick.worker import queueorder
from django_sidekick.worker.journal import Began

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
            "mode": queueorder.mode(self.queues),
            "weights": weights,
        }
        fields: dict[str, Any] = {
            "hostname": os.environ.get("DYNO") or socket.gethostname(),
            "started_at": self.started_at_s,
            "pid": pid_of(identity),
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


class Display:
    """Shows one process. By the process itself under -p 0, else by its supervisor, whom no job can hold up."""

    def __init__(self, beats: ProcessBeat, info: ProcessInfo) -> None:
        self._beats = beats
        self._info = info

    def beat(self, identity: str, running: Sequence[Began], *, quiet: bool) -> str | None:
        """Refresh all that is shown. Return the signal that a dashboard has sent, if any.

        Four round trips; what is running is read from the in-flight hash. Raise redis-py's errors.
        """
        self._beats.prune()
        work = self._work(identity, running)
        fields = {
            "info": self._info.as_json(identity),
            "concurrency": str(self._info.concurrency),
            "busy": str(len(work)),
            "beat": repr(time.time()),
            "rtt_us": str(self._beats.round_trip_us()),
            "quiet": "true" if quiet else "false",
            "rss": str(resident_kib(pid_of(identity))),
        }
        return self._beats.beat(identity, fields, work)

    def leave(self, identity: str) -> None:
        """Sign off."""
        self._beats.leave(identity)

    def _work(self, identity: str, running: Sequence[Began]) -> dict[str, bytes]:
        queues, payloads = self._beats.held(identity, [began.tag for began in running])
        work = {}
        for began, payload in zip(running, payloads, strict=True):
            index = queue_index(began.tag)
            if payload is not None and index < len(queues):
                entry = {
                    "queue": queues[index],
                    "payload": payload.decode(errors="replace"),
                    "run_at": int(began.since_s),
                }
                work[thread_id(identity, began.slot)] = json.dumps(entry, separators=(",", ":")).encode()
        return work


def pid_of(identity: str) -> int:
    """Return the process number in host:pid:nonce."""
    return int(identity.rsplit(":", 2)[1])


def thread_id(identity: str, slot: int) -> str:
    """Return a short name of a thread, in base 36 as Sidekiq writes it, different in each process."""
    number, text = (pid_of(identity) << 16) | slot, ""
    while number:
        number, digit = divmod(number, 36)
        text = _BASE_36[digit] + text
    return text


def resident_kib(pid: int) -> int:
    """Return the resident memory of a process in KiB; 0 where /proc is missing or it has gone."""
    try:
        pages = int(Path(f"/proc/{pid}/statm").read_text("ascii").split()[1])
    except (OSError, ValueError, IndexError):
        return 0
    return pages * os.sysconf("SC_PAGE_SIZE") // 1024
