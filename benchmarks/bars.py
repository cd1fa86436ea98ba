"""What is measured, and what must come of it: the bars of the design, as data."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import NamedTuple

from benchmarks import drain, enqueueing, fairness, history, latency, memory

Figures = dict[str, float]
Round = dict[str, Figures]

MEASURES: dict[str, Callable[[int], Figures]] = {
    "A": drain.floor_a,
    "B": drain.floor_b,
    "C": drain.floor_c,
    "D": drain.drain,
    "E": drain.drain_with_events,
    "L": drain.drain_with_lines,
    "Q": drain.drain_three_queues,
    "G": drain.drain_coroutines,
    "P": drain.processes,
    "idle": latency.idle,
    "idle, three": latency.idle_three_queues,
    "scheduled": latency.scheduled,
    "one by one": enqueueing.one_by_one,
    "in bulk": enqueueing.in_bulk,
    "rows SQLite": history.sqlite_rows,
    "full SQLite": history.sqlite_full,
    "lock SQLite": history.sqlite_lock,
    "rows PostgreSQL": history.postgresql_rows,
    "full PostgreSQL": history.postgresql_full,
    "memory": memory.pss,
    "fairness": fairness.two_processes,
}
"""In the order of a round: what is compared stands close together in time."""


class Bar(NamedTuple):
    """One line of the table: a figure of each round, and the least or most that its median may be."""

    what: str
    figure: Callable[[Round], float]
    least: float | None = None
    most: float | None = None

    def holds(self, value: float) -> bool:
        above = self.least is None or value >= self.least
        return above and (self.most is None or value <= self.most)

    def text(self) -> str:
        return f">= {self.least:g}" if self.least is not None else f"<= {self.most:g}"


def of(name: str, floor: str, key: str = "per_s", floor_key: str = "") -> Callable[[Round], float]:
    """Return the function that divides a figure by its floor, both of one round."""
    return lambda figures: figures[name][key] / figures[floor][floor_key or key]


IS_OLD = sys.version_info < (3, 13)

BARS = [
    Bar("worker, of floor C", of("D", "C"), least=0.55 if IS_OLD else 0.50),
    Bar("its CPU a job, of floor C's", of("D", "C", "cpu_us"), most=2.2 if IS_OLD else 2.6),
    Bar("with an event a job, of floor C", of("E", "C"), least=0.42),
    Bar("with log lines, of floor C", of("L", "C"), least=0.32),
    Bar("three queues, of one", of("Q", "D"), least=0.9),
    Bar("two processes, of one", of("P", "P", "per_s_2", "per_s_1"), least=1.2),
    Bar("idle latency p50, of a bare BRPOP's", of("idle", "idle", "worker_p50_ms", "bare_p50_ms"), most=2.2),
    Bar("idle latency p90, of a bare BRPOP's", of("idle", "idle", "worker_p90_ms", "bare_p90_ms"), most=2.5),
    Bar("with three queues, p50", of("idle, three", "idle, three", "worker_p50_ms", "bare_p50_ms"), most=2.2),
    Bar("with three queues, p90", of("idle, three", "idle, three", "worker_p90_ms", "bare_p90_ms"), most=2.5),
    Bar(
        "scheduled, ms later than a bare timer, p90",
        lambda r: r["scheduled"]["worker_p90_ms"] - r["scheduled"]["timer_p90_ms"],
        most=2.0,
    ),
    Bar("perform_later's CPU, of bare EVALSHA's", of("one by one", "one by one", "cpu_us", "floor_cpu_us"), most=1.35),
    Bar("perform_bulk, of dumps + LPUSH", of("in bulk", "in bulk", "bulk_per_s", "floor_per_s"), least=0.45),
    Bar("perform_all_later, of dumps + LPUSH", of("in bulk", "in bulk", "all_later_per_s", "floor_per_s"), least=0.18),
    Bar("rows committed, SQLite, of a bare upsert", of("rows SQLite", "rows SQLite", "rows_per_s", "floor_rows_per_s"), least=0.6),
    Bar("rows committed at level full, SQLite", of("full SQLite", "full SQLite", "rows_per_s", "floor_rows_per_s"), least=0.5),
    Bar("rows committed, PostgreSQL, of COPY + upsert", of("rows PostgreSQL", "rows PostgreSQL", "rows_per_s", "floor_rows_per_s"), least=0.6),
    Bar("rows committed at level full, PostgreSQL", of("full PostgreSQL", "full PostgreSQL", "rows_per_s", "floor_rows_per_s"), least=0.5),
    Bar("rows behind the last job, s, SQLite", lambda r: r["rows SQLite"]["behind_s"], most=2.0),
    Bar("rows behind the last job, s, PostgreSQL", lambda r: r["rows PostgreSQL"]["behind_s"], most=2.0),
    Bar("SQLite's lock held for writing, ms, p99", lambda r: r["lock SQLite"]["held_p99_ms"], most=20.0),
    Bar("a web writer's longest wait beside it, s", lambda r: r["rows SQLite"]["web_max_ms"] / 1000, most=5.0),
    Bar("memory, of as many idle processes", of("memory", "memory", "worker_mb", "idle_mb"), most=1.7),
    Bar("fairness, of the ideal", of("fairness", "fairness", "took_s", "ideal_s"), most=1.15),
]
if sys.version_info >= (3, 12):
    BARS.insert(6, Bar("coroutine jobs, of floor C", of("G", "C"), least=0.5))
