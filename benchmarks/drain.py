"""The worker against its floors, in alternating rounds on one machine: `make bench`.

A  decode, look up, make the object, call: no Redis.
B  fetch and acknowledge only, in batches of 250, nothing decoded, one client.
C  A and B in one thread, one after the other: the limit of one Python process.
D  the worker: 10 threads, reliable fetch, all duties of a default configuration, job lines off.
E  D with an event for each job.
G  D with coroutine jobs, at most 100 at once on the event loop.

Each figure stands beside its floor of the same round, with the process' CPU time per job.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))
BATCH = 250
JOB = {
    "retry": True, "queue": "default", "args": ["hello", 12345, {"a": 1}], "class": "benchmarks.jobs.Noop",
    "jid": "b4a577edbccf1d805744efa9", "created_at": 1732332345123, "enqueued_at": 1732332345124,
}  # fmt: skip


def cpu_s() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def fill(client, count: int, job_class: str = "Noop") -> None:
    client.flushall()
    job = {**JOB, "class": f"benchmarks.jobs.{job_class}"}
    raw = json.dumps(job, separators=(",", ":")).encode()
    for _ in range(0, count, 10_000):
        client.lpush("queue:default", *[raw] * 10_000)


def timed(count: int, run) -> tuple[float, float]:
    """Return jobs a second, and CPU microseconds a job."""
    cpu, began = cpu_s(), time.perf_counter()
    run()
    took = time.perf_counter() - began
    return count / took, (cpu_s() - cpu) / count * 1e6


def measure(name: str, count: int) -> tuple[float, float]:
    import django

    django.setup()
    from django_sidekick.broker.broker import get_broker
    from django_sidekick.conf import get_settings

    client = get_broker().client
    fill(client, count, "AsyncNoop" if name == "G" else "Noop")
    return {"A": floor_a, "B": floor_b, "C": floor_c, "D": drain, "E": drain_with_events, "G": drain}[name](
        count, get_settings()
    )


def floor_a(count: int, settings) -> tuple[float, float]:
    from benchmarks.jobs import Noop
    from django_sidekick.wire import codec

    raw, loads, classes = json.dumps(JOB).encode(), codec.loads, {JOB["class"]: Noop}

    def run() -> None:
        for _ in range(count):
            job = loads(raw)
            classes[job["class"]]().perform(*job["args"])

    return timed(count, run)


def owned(settings):
    from django_sidekick.broker.ownership import Ownership

    own = Ownership(settings, ["default"])
    own.register()
    return own


def floor_b(count: int, settings) -> tuple[float, float]:
    from django_sidekick.wire.outcome import Outcome

    own = owned(settings)

    def run() -> None:
        batch = own.fetch([0], BATCH, [])
        while batch:
            batch = own.fetch([0], BATCH, [Outcome("done", delivery) for delivery in batch])

    return timed(count, run)


def floor_c(count: int, settings) -> tuple[float, float]:
    from benchmarks.jobs import Noop
    from django_sidekick.wire import codec
    from django_sidekick.wire.outcome import Outcome

    own, loads, classes = owned(settings), codec.loads, {JOB["class"]: Noop}

    def run() -> None:
        batch = own.fetch([0], BATCH, [])
        while batch:
            for delivery in batch:
                job = loads(delivery.raw)
                classes[job["class"]]().perform(*job["args"])
            batch = own.fetch([0], BATCH, [Outcome("done", delivery) for delivery in batch])

    return timed(count, run)


def drain(count: int, settings, events_of=None) -> tuple[float, float]:
    from django_sidekick.feature import load_features
    from django_sidekick.jobs.execute import build_executor
    from django_sidekick.worker.child import Child
    from django_sidekick.worker.options import WorkerOptions

    options = WorkerOptions(settings, (("default", 0),), 10, 25.0)
    executor = build_executor(settings, features=load_features(settings))
    child = Child(options, executor, events_of=events_of)
    main = threading.Thread(target=child.run)

    def run() -> None:
        main.start()
        while child.intake.done < count:
            time.sleep(0.002)

    figures = timed(count, run)
    child.ask_stop()
    main.join()
    return figures


def drain_with_events(count: int, settings) -> tuple[float, float]:
    import orjson

    def events_of(outcomes) -> bytes:
        return orjson.dumps(
            [[orjson.Fragment(o.delivery.raw), o.kind, o.started_at_s, o.duration_s] for o in outcomes]
        )

    return drain(count, settings, events_of)


def one_round(port: int, count: int) -> dict[str, tuple[float, float]]:
    figures = {}
    for name in "ABCDEG":
        done = subprocess.run(
            [sys.executable, __file__, "--one", name, "--jobs", str(count)],
            env={**os.environ, "DJANGO_SETTINGS_MODULE": "benchmarks.settings", "BENCH_PORT": str(port)},
            capture_output=True, text=True, check=True, cwd=ROOT,
        )  # fmt: skip
        figures[name] = tuple(json.loads(done.stdout.splitlines()[-1]))
    return figures


def report(rounds: list[dict[str, tuple[float, float]]]) -> dict:
    import django
    import redis

    rows = {}
    for name in "ABCDEG":
        speeds = [figures[name][0] for figures in rounds]
        ratios = [figures[name][0] / figures["C"][0] for figures in rounds]
        cpus = [figures[name][1] for figures in rounds]
        rows[name] = {
            "jobs_per_s": round(statistics.median(speeds)),
            "of_floor_c": round(statistics.median(ratios), 3),
            "cpu_us": round(statistics.median(cpus), 2),
            "cpu_of_floor_c": round(statistics.median(f[name][1] / f["C"][1] for f in rounds), 2),
        }
    versions = {"python": platform.python_version(), "django": django.get_version(), "redis-py": redis.__version__}
    return {"machine": f"{os.cpu_count()} cores, {platform.machine()}", "versions": versions, "median": rows, "rounds": rounds}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--one", choices="ABCDEG")
    parser.add_argument("--jobs", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=9)
    arguments = parser.parse_args()
    if arguments.one:
        print(json.dumps(measure(arguments.one, arguments.jobs)))
        return
    from tests.conftest import RedisServer

    scratch = tempfile.mkdtemp(prefix="sidekick-bench-")
    server = RedisServer("--appendonly", "no", directory=scratch)
    try:
        rounds = []
        for number in range(arguments.rounds):
            rounds.append(one_round(server.port, arguments.jobs))
            print(number + 1, {n: f"{f[0]:,.0f}/s {f[1]:.2f} us" for n, f in rounds[-1].items()}, flush=True)
    finally:
        server.stop()
        shutil.rmtree(scratch, ignore_errors=True)
    result = report(rounds)
    for name, row in result["median"].items():
        print(f"{name}  {row['jobs_per_s']:>9,}/s  {row['of_floor_c']:.2f} of C  {row['cpu_us']:.2f} us CPU ({row['cpu_of_floor_c']:.2f} x C)")
    target = ROOT / "benchmarks" / "results" / f"drain-py{platform.python_version()}.json"
    target.parent.mkdir(exist_ok=True)
    target.write_text(json.dumps(result, indent=1) + "\n")
    print(f"written to {target.relative_to(ROOT)}")


if __name__ == "__main__":
    main()
