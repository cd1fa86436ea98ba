"""Memory of a worker's processes, beside the same project forked into as many that do nothing."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

from benchmarks.common import beside, raw_job, redis_client, until, worker

SETTINGS = "benchmarks.settings_admin"
JOBS = 1000


def pss(_: int) -> dict[str, float]:
    """MB of PSS of `-p 2 -c 10` after 1,000 jobs: supervisor, service, two workers; and of four idle processes."""
    client = redis_client()
    client.flushall()
    environment = {"DJANGO_SETTINGS_MODULE": SETTINGS}
    with worker("-p", "2", "-c", "10", members=2, **environment) as process:
        client.lpush("queue:default", *[raw_job()] * JOBS)
        until(lambda: client.exists("queue:default") == 0, "the jobs")
        members = tree(process.pid)
        ours = sum(map(pss_kb, members)) / 1024
    with beside("-m", "benchmarks.memory", str(len(members)), **environment) as process:
        until(lambda: len(tree(process.pid)) == len(members), "the idle processes")
        until(lambda: all(map(_sleeps, tree(process.pid))), "them to be idle")
        idle = sum(map(pss_kb, tree(process.pid))) / 1024
    return {"processes": len(members), "worker_mb": ours, "idle_mb": idle}


def tree(pid: int) -> list[int]:
    """The process and all that descend from it."""
    found, at = [pid], 0
    while at < len(found):
        for task in Path(f"/proc/{found[at]}/task").glob("*/children"):
            found += map(int, task.read_text().split())
        at += 1
    return found


def pss_kb(pid: int) -> int:
    text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    return int(text.split("Pss:")[1].split()[0])


def _sleeps(pid: int) -> bool:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "S"


def _be_idle(processes: int) -> None:
    """Load the project as runworker does, fork, and wait for the end."""
    import gc

    import django

    django.setup()
    from django.core.management import load_command_class

    load_command_class("django_sidekick", "runworker")
    gc.collect()
    gc.freeze()
    for _ in range(processes - 1):
        if os.fork() == 0:
            break
    signal.pause()


if __name__ == "__main__":
    _be_idle(int(sys.argv[1]))
