"""What has been counted: runs per day, runs and run times per class, and Redis' own figures."""

from __future__ import annotations

from datetime import date, datetime, timedelta
from typing import NamedTuple

from django_sidekick.broker.console import Command, Question
from django_sidekick.broker.keys import Keys
from django_sidekick.broker.replies import count, pairs_in

MINUTES = (60, 120, 240, 480, 1440, 2880, 4320)
"""The periods of metrics: by the minute up to 8 h, by ten minutes up to 72 h."""

_BY_MINUTE = 480


class Day(NamedTuple):
    """Runs that ended on one UTC day, and those of them that failed."""

    day: date
    processed: int
    failed: int


class ClassFigures(NamedTuple):
    """Runs of one class. Failed ones are counted among `processed`, and not timed."""

    job_class: str
    processed: int
    failed: int
    total_s: float

    @property
    def succeeded(self) -> int:
        """Return the runs that did not fail."""
        return max(self.processed - self.failed, 0)

    @property
    def mean_s(self) -> float | None:
        """Return the mean run time of those that did not fail, in seconds."""
        return self.total_s / self.succeeded if self.succeeded else None

    @property
    def failed_percent(self) -> float:
        """Return the share of failed runs, 0 to 100."""
        return min(100 * self.failed / self.processed, 100.0) if self.processed else 0.0


def days(keys: Keys, today: date, how_many: int) -> Question:
    """Ask for the last Days up to the UTC day `today`, the oldest first, in one round trip."""
    listed = [today - timedelta(days=back) for back in reversed(range(how_many))]
    replies = yield [
        ("MGET", *(keys.stat(name, f"{day:%Y-%m-%d}") for day in listed)) for name in ("processed", "failed")
    ]
    processed, failed = (r if isinstance(r, list) else [None] * how_many for r in replies)
    return [Day(*each) for each in zip(listed, map(count, processed), map(count, failed), strict=True)]


def metrics(keys: Keys, now: datetime, minutes: int) -> Question:
    """Ask for the ClassFigures of the last minutes up to `now`, UTC, the most run time first; one round trip."""
    commands: list[Command] = [("HGETALL", keys.metrics(name)) for name in buckets(now, minutes)]
    sums: dict[bytes, list[int]] = {}
    for reply in (yield commands):
        for field, value in pairs_in(reply):
            name, _, kind = field.rpartition(b"|")
            if kind in _KINDS:
                sums.setdefault(name, [0, 0, 0])[_KINDS[kind]] += count(value)
    found = [
        ClassFigures(name.decode(errors="replace"), processed, failed, ms / 1000)
        for name, (processed, failed, ms) in sums.items()
    ]
    return sorted(found, key=lambda f: (-f.total_s, -f.processed, f.job_class))


_KINDS = {b"p": 0, b"f": 1, b"ms": 2}


def buckets(now: datetime, minutes: int) -> list[str]:
    """Return the names of Sidekiq's buckets of this period (Sidekiq 8.1, `metrics/query.rb`), the newest first."""
    step = 1 if minutes <= _BY_MINUTE else 10
    ends = (now - timedelta(minutes=back) for back in range(0, minutes, step))
    names = (f"{end:%y%m%d}|{end.hour}:{end:%M}" for end in ends)
    return [name if step == 1 else name[:-1] for name in names]


class Server(NamedTuple):
    """What Redis says of itself: its name and version, memory in bytes, uptime in seconds."""

    name: str
    version: str
    used_bytes: int
    peak_bytes: int
    clients: int
    uptime_s: int


def server() -> Question:
    """Ask for the Server; None if it does not say."""
    (reply,) = yield [("INFO",)]
    if not isinstance(reply, bytes):
        return None
    lines = (line.partition(":") for line in reply.decode(errors="replace").splitlines())
    info = {name: value for name, _, value in lines}
    sizes = ("used_memory", "used_memory_peak", "connected_clients", "uptime_in_seconds")
    valkey, version = info.get("valkey_version"), info.get("redis_version", "")
    name = "Valkey" if valkey else "Redis"
    return Server(name, valkey or version, *(count(info.get(f, "").encode()) for f in sizes))
