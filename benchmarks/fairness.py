"""Whether one process grabs what another could begin: many short jobs, then a few long ones."""

from __future__ import annotations

import time
from typing import Any

from benchmarks.common import raw_job, redis_client, until, worker
from benchmarks.drain import in_flight

SHORT, LONG, LONG_S, PLACES = 40_000, 200, 0.1, 20


def two_processes(_: int) -> dict[str, float]:
    """Seconds for 200 jobs of 100 ms behind 40,000 no-ops, over two processes of 10 threads; ideal 1.0."""
    client: Any = redis_client()
    client.flushall()
    raw = raw_job(**{"class": "benchmarks.jobs.Sleep", "args": [LONG_S]})
    for first in range(0, SHORT, 1000):
        client.lpush("stock", *[raw_job()] * min(1000, SHORT - first))
    client.lpush("stock", *[raw] * LONG)
    with worker("-p", "2", "-c", "10", members=2):
        client.rename("stock", "queue:default")
        until(lambda: client.llen("queue:default") <= LONG, "the short jobs")
        began = time.perf_counter()
        until(lambda: client.exists("queue:default") == 0 and not in_flight(client), "the long jobs")
        took_s = time.perf_counter() - began
    return {"took_s": took_s, "ideal_s": LONG * LONG_S / PLACES}
