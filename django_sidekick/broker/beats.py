"""What a process tells about itself in Sidekiq's keys: its hash, its work, its counts and metrics."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from itertools import chain
from typing import Any, NamedTuple

from django_sidekick.broker import keys as names
from django_sidekick.broker.connection import Client
from django_sidekick.broker.keys import Keys


class Counts(NamedTuple):
    """What has been run since the last beat. `classes`: processed, failed, run time in s, 26 buckets."""

    processed: int
    failed: int
    classes: Mapping[str, Sequence[float]]


class ProcessBeat:
    """Write the display keys of one process. For people: recovery does not depend on them."""

    def __init__(self, client: Client, keys: Keys) -> None:
        self._client = client
        self._keys = keys

    def beat(self, identity: str, fields: Mapping[str, str], work: Mapping[str, bytes]) -> str | None:
        """Refresh the process' hash and work, TTL 60 s. Return a signal that a dashboard has sent, if any.

        Two transactions, as Sidekiq 8.1 writes them (`lib/sidekiq/launcher.rb`).
        """
        keys, pipeline = self._keys, self._client.pipeline(transaction=True)
        pipeline.unlink(keys.work(identity))
        if work:
            pipeline.hset(keys.work(identity), mapping=dict(work))
            pipeline.expire(keys.work(identity), names.PROCESS_TTL_S)
        pipeline.sadd(keys.processes, identity)
        pipeline.hset(keys.process(identity), mapping=dict(fields))
        pipeline.expire(keys.process(identity), names.PROCESS_TTL_S)
        pipeline.rpop(keys.signals(identity))
        signal = pipeline.execute()[-1]
        return signal.decode(errors="replace") if signal else None

    def held(self, identity: str, tags: Sequence[int]) -> tuple[list[str], list[bytes | None]]:
        """Return a process' queues, by index, and the payloads that it holds under these tags; None for what it holds no more.

        The queues are those it was registered with: a process of older code may have others than this one.
        """
        if not tags:
            return [], []
        names, *payloads = self._client.hmget(self._keys.inflight(identity), ["queues", *tags])
        return (names or b"").decode(errors="replace").split("\n"), payloads

    def round_trip_us(self) -> int:
        """Return the time of one PING in microseconds."""
        before = time.perf_counter()
        self._client.ping()
        return int((time.perf_counter() - before) * 1_000_000)

    def prune(self) -> None:
        """Forget processes whose hash has expired; at most once a minute over all processes."""
        keys, client = self._keys, self._client
        if not client.set(keys.process_cleanup, "1", nx=True, ex=60):
            return
        for identity in client.sscan_iter(keys.processes):
            name = identity.decode(errors="replace")
            if client.hget(keys.process(name), "info") is None:
                client.srem(keys.processes, identity)

    def leave(self, identity: str) -> None:
        """Sign off. The process' hash is left to expire, as Sidekiq leaves it."""
        pipeline = self._client.pipeline(transaction=True)
        pipeline.srem(self._keys.processes, identity)
        pipeline.unlink(self._keys.work(identity))
        pipeline.execute()

    def add_counts(self, counts: Counts, now_s: float) -> None:
        """Add counts to stat:* and to the metrics buckets of this minute, in one transaction."""
        pipeline = self._client.pipeline(transaction=True)
        now = datetime.fromtimestamp(now_s, UTC)
        if counts.processed or counts.failed:
            for name, count in (("processed", counts.processed), ("failed", counts.failed)):
                day = self._keys.stat(name, f"{now:%Y-%m-%d}")
                pipeline.incrby(self._keys.stat(name), count)
                pipeline.incrby(day, count)
                pipeline.expire(day, names.STAT_DAY_TTL_S)
        for job_class, values in counts.classes.items():
            self._add_metrics(pipeline, job_class, values, now)
        if len(pipeline):
            pipeline.execute()

    def _add_metrics(self, pipeline: Any, job_class: str, values: Sequence[float], now: datetime) -> None:
        """Failed runs are counted and not timed (Sidekiq 8.1, `metrics/tracking.rb`)."""
        minute = f"{now:%y%m%d}|{now.hour}:{now:%M}"
        processed, failed, run_time_s, *histogram = values
        buckets = [
            (self._keys.metrics(minute), names.MINUTE_BUCKET_TTL_S),
            (self._keys.metrics(minute[:-1]), names.TEN_MINUTE_BUCKET_TTL_S),
        ]
        for key, ttl_s in buckets:
            pipeline.hincrby(key, f"{job_class}|p", int(processed))
            if failed:
                pipeline.hincrby(key, f"{job_class}|f", int(failed))
            if processed > failed:
                pipeline.hincrby(key, f"{job_class}|ms", round(run_time_s * 1000))
            pipeline.expire(key, ttl_s)
        if any(histogram):
            key = self._keys.histogram(job_class, f"{now.day}-{now.hour}:{now.minute}")
            steps = [("INCRBY", "u16", f"#{i}", int(n)) for i, n in enumerate(histogram) if n]
            pipeline.execute_command("BITFIELD", key, "OVERFLOW", "SAT", *chain.from_iterable(steps))
            pipeline.expire(key, names.MINUTE_BUCKET_TTL_S)
