"""The soak's verdict: a straight line through each series, and what it may gain. Pure: samples in, rows out."""

from __future__ import annotations

import math
import statistics
from typing import Any

GROWN_S = 60.0
"""A worker this old has opened what it needs: threads, connections, and room for its failures.

Jobs that fail, here one in nine, fill the gaps of the heap: 5 MiB in the first minute, 1 in the second, less
and less from then on, while neither the number of objects nor what they hold grows (tracemalloc).
"""

OLD_S = 120.0
NAMES = {"rss_kib": "RSS, KiB,", "descriptors": "descriptors", "threads": "threads"}
EACH = (("rss_kib", 5, "%"), ("descriptors", 1, ""), ("threads", 1, ""))
"""What each process may gain over the run."""

LIFE = (("rss_kib", 3, "%"), *EACH[1:])
"""What a worker may gain in a minute, once grown: it runs some 10,000 jobs in it."""

BOUNDS = (
    ("redis_bytes", 10, "%"), ("redis_clients", 2, ""), ("database_clients", 2, ""),
    ("journals", 1, ""), ("journal_bytes", 10, "%"),
)  # fmt: skip


def line(points: list[tuple[float, float]]) -> tuple[float, float]:
    """Lay the least-squares line through the points. Return its value at the first, and its gain to the last."""
    times, values = [at for at, _ in points], [value for _, value in points]
    slope, start = statistics.linear_regression(times, values)
    return start + slope * min(times), slope * (max(times) - min(times))


def rows(samples: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Judge each series: what it gains over the run beside what it may. One with too few points does not hold."""
    judged = []

    def judge(name: str, points: list[tuple[float, float]], limit: float, unit: str) -> None:
        start, gain = line(points) if len({at for at, _ in points}) > 2 else (math.nan, math.nan)
        most = start * limit / 100 if unit == "%" else limit
        judged.append({
            "series": name, "start": round(start, 2), "gain": round(gain, 2), "bound": round(most, 2),
            "stated": f"{limit:g} %" if unit == "%" else f"{limit:g}", "points": len(points), "holds": gain <= most,
        })  # fmt: skip

    for role in ("load", "supervisor", "service", "worker"):
        name = f"worker {GROWN_S:.0f}-{OLD_S:.0f} s old" if role == "worker" else role
        for what, limit, unit in EACH:
            judge(f"{NAMES[what]} of the {name}", of(samples, role, what), limit, unit)
    for what, limit, unit in LIFE:
        judge(f"{NAMES[what]} of a worker in a minute of its life", lives(samples, what), limit, unit)
    judge("PSS of the tree, KiB", tree_pss(samples), 10, "%")
    for key, limit, unit in BOUNDS:
        judge(key.replace("_", " "), [(sample["t_s"], sample[key]) for sample in samples], limit, unit)
    judge("keys", [(sample["t_s"], sample["keys"].get("other", 0)) for sample in samples], 10, "%")
    return judged


def of(samples: list[dict[str, Any]], role: str, what: str) -> list[tuple[float, float]]:
    """The series of one role; of workers only those of about one age, so that a young one is no leak."""
    return [
        (sample["t_s"], process[what])
        for sample in samples
        for process in sample["processes"]
        if process["role"] == role and (role != "worker" or GROWN_S <= process["age_s"] < OLD_S)
    ]


def lives(samples: list[dict[str, Any]], what: str) -> list[tuple[float, float]]:
    """All workers laid over each other by age, each moved to the mean of all; 60 s long."""
    by_pid: dict[int, list[tuple[float, float]]] = {}
    for sample in samples:
        for process in sample["processes"]:
            if process["role"] == "worker" and GROWN_S <= process["age_s"] < GROWN_S + 60:
                by_pid.setdefault(process["pid"], []).append((process["age_s"], process[what]))
    moved: list[tuple[float, float]] = []
    if not any(len(life) > 2 for life in by_pid.values()):
        return moved
    mean = statistics.fmean(value for life in by_pid.values() for _, value in life)
    for life in by_pid.values():
        own, middle = statistics.fmean(value for _, value in life), statistics.fmean(age for age, _ in life)
        moved += [(age - middle, value - own + mean) for age, value in life]
    slope = statistics.linear_regression(*zip(*moved, strict=True)).slope
    return [(at, mean + at * slope) for at in (0.0, 30.0, 60.0)]


def tree_pss(samples: list[dict[str, Any]]) -> list[tuple[float, float]]:
    return [
        (sample["t_s"], sum(p["pss_kib"] for p in sample["processes"] if p["role"] != "load")) for sample in samples
    ]
