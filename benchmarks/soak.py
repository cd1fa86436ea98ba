"""Ten minutes of mixed load on a real worker: nothing may grow, nothing may be left: `make soak`.

`runworker -p 2` runs all that benchmarks/soak_jobs.py enqueues: short and long jobs, coroutines, SQL, failures,
dead jobs, scheduled, cancelled and expired ones, and jobs that kill their process; children are recycled. The
recorder writes the history of all of them, and cuts it to HISTORY_MAX_ROWS.
Every 5 s memory, descriptors and threads of each process are read, with what Redis and the runtime folder hold.
After a warm-up of one fifth a straight line is laid through each series: what it gains over the rest of the run
must stay below the bound beside it. At the end, after a drain and TERM, nothing may be left but what lives on.

Exits with 1 when a bound is broken. Figures: benchmarks/results/soak.json.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from contextlib import ExitStack
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))
RESULT = ROOT / "benchmarks" / "results" / "soak.json"
SAMPLE_EVERY_S = 5.0
DRAIN_S = 90.0
STAYS = {"queues", "stat:processed", "stat:failed", "dead", "sk:events", "sk:events:generation"}
"""Keys that outlive an idle worker without a TTL; of the events an empty stream is left, and its name."""

HELD = ("sk:inflight", "sk:wake", "sk:owners")
ALARMS = ("could not go on", "A thread of the intake failed", "could not be settled", "does not end", "did not end")
NOTHING = (
    "exit_code", "processes_left", "journals_left", "keys_held", "keys_without_ttl", "dead_above_limit",
    "handles_unheard", "alarms", "buried_bystanders", "events_left", "events_dropped",
)  # fmt: skip
METRICS = 13
"""A histogram of each of the ten classes, a hash a minute, one every ten."""

MOST_ROWS = 5_000
"""HISTORY_MAX_ROWS. Old rows are cut whenever a tenth as many are new, in small chunks: some more stand at any moment."""

MOST_WAITING = 2_000
"""Blobs, of a job or more each: the recorder of the process that is killed is replaced, and catches up."""

BLAME = 15
"""Jobs that one kill can find inside `perform`: ten threads, and the coroutines of the moment."""


class Soaking:
    """The servers, the worker and the load, in a folder of their own."""

    def __init__(self, stack: ExitStack, minutes: float) -> None:
        from tests.conftest import RedisServer

        self.folder = Path(tempfile.mkdtemp(prefix="sidekick-soak-"))
        stack.callback(shutil.rmtree, self.folder, ignore_errors=True)
        server = RedisServer("--appendonly", "no", directory=str(self.folder))
        stack.callback(server.stop)
        os.environ |= {
            "DJANGO_SETTINGS_MODULE": "benchmarks.soak_settings",
            "SOAK_FOLDER": str(self.folder),
            "BENCH_PORT": str(server.port),
            **self._database(stack),
        }
        import django

        django.setup()
        import redis

        from benchmarks import soak_jobs

        soak_jobs.make_tables()
        self.client = redis.Redis(port=server.port)  # not the load's: its pool would grow with us
        self.load = soak_jobs.Load(max(40.0, minutes * 60 / 5), max(60.0, minutes * 60 / 2.5))
        self.log = self.folder / "worker.log"
        self.worker = subprocess.Popen(
            [sys.executable, "-m", "django", "runworker", "-p", "2"],
            env={**os.environ, "PYTHONPATH": str(ROOT)}, cwd=ROOT, start_new_session=True,
            stdout=subprocess.DEVNULL, stderr=self.log.open("w"),
        )  # fmt: skip
        stack.callback(self._end_all)

    @staticmethod
    def _database(stack: ExitStack) -> dict[str, str]:
        from tests.postgresql import PostgreSQL

        try:
            server = PostgreSQL()
        except OSError:  # no binaries here: a file of SQLite does
            return {}
        stack.callback(server.close)
        return {"SOAK_PG_PORT": str(server.port), "SOAK_PG_USER": server.user}

    def tree(self) -> list[int]:
        """Every living process of the worker's session."""
        from benchmarks.soak_processes import stat

        found = []
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit() and (fields := stat(int(entry.name))) and int(fields[3]) == self.worker.pid:
                found.append(int(entry.name))
        return found

    def _end_all(self) -> None:
        for pid in self.tree():
            os.kill(pid, signal.SIGKILL)
        self.worker.wait()


def observe(soaking: Soaking, service: int) -> dict[str, Any]:
    """Take one sample of everything."""
    from benchmarks.soak_processes import look_at

    processes = []
    for pid in [os.getpid(), *soaking.tree()]:
        role = {os.getpid(): "load", soaking.worker.pid: "supervisor", service: "service"}.get(pid, "worker")
        if seen := look_at(pid):
            processes.append({"role": role, "pid": pid, **seen})
    info = soaking.client.info()
    families = Counter(family(key.decode(errors="replace")) for key in soaking.client.scan_iter(count=1000))
    journals = list((soaking.folder / "run").glob("*.journal"))
    return {
        "processes": processes,
        "redis_bytes": info["used_memory"],
        "redis_clients": info["connected_clients"],
        "keys": dict(families),
        "journals": len(journals),
        "journal_bytes": sum(path.stat().st_size for path in journals if path.exists()),
        "database_clients": database_clients(),
        "events": soaking.client.xlen("sk:events"),
        "rows": rows_of_history(),
    }


def family(key: str) -> str:
    """Metrics and crash counts grow by design until their TTL; all other keys are counted together."""
    if key.startswith(("j|", "h|")):
        return "metrics"
    return "crashes" if key.startswith("sk:crashes:") else "other"


def database_clients() -> int:
    from django.db import connection

    if connection.vendor != "postgresql":
        return 0
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend'")
        return int(cursor.fetchone()[0])


def rows_of_history() -> int:
    from django_sidekick.models import JobRecord

    return JobRecord.objects.count()


def watch(soaking: Soaking, seconds: float) -> list[dict[str, Any]]:
    """Sample until the time is over. The first child that the supervisor bears is the service."""
    from benchmarks.soak_processes import stat
    from tests.conftest import wait_until

    wait_until(lambda: soaking.client.zcard("sk:owners") == 2, "two workers", 30)
    service = min(set(soaking.tree()) - {soaking.worker.pid}, key=lambda pid: (int(stat(pid)[19]), pid))
    soaking.load.start()
    began, samples = time.monotonic(), []
    while (now_s := time.monotonic() - began) < seconds:
        samples.append({"t_s": round(now_s, 2), **observe(soaking, service)})
        if soaking.worker.poll() is not None:
            sys.exit(f"The worker has ended by itself:\n{soaking.log.read_text()[-2000:]}")
        if len(samples) % 12 == 1:
            print(f"{now_s:5.0f} s  {sum(soaking.load.enqueued.values()):,} enqueued", flush=True)
        time.sleep(max(0.0, began + len(samples) * SAMPLE_EVERY_S - time.monotonic()))
    return samples


def finish(soaking: Soaking) -> dict[str, Any]:
    """Stop the load, drain, TERM; return what is left."""
    from tests.conftest import wait_until

    soaking.load.stop()
    began = time.monotonic()
    wait_until(lambda: is_drained(soaking.client), "the drain", DRAIN_S)
    drained_s, client = time.monotonic() - began, soaking.client
    wait_until(lambda: not remembered(client), "the names of the killed to be forgotten", DRAIN_S)
    dead = Counter(json.loads(raw)["class"].rpartition(".")[2] for raw in client.zrange("dead", 0, -1))
    soaking.worker.send_signal(signal.SIGTERM)
    code = soaking.worker.wait(60)
    keys = [key.decode(errors="replace") for key in client.scan_iter(count=1000)]
    log = soaking.log.read_text()
    return {
        "exit_code": code,
        "processes_left": len(soaking.tree()),
        "journals_left": len(list((soaking.folder / "run").glob("*.journal"))),
        "keys_held": [key for key in keys if key.startswith(HELD)],
        "keys_without_ttl": [key for key in keys if key not in STAYS and client.ttl(key) == -1],
        "dead_above_limit": max(0, sum(dead.values()) - 50),
        "handles_unheard": soaking.load.unheard,
        "alarms": [line for line in log.splitlines() if any(alarm in line for alarm in ALARMS)],
        "buried_by_kills": (buried := log.count("is dead: The process died")),
        "buried_bystanders": buried - soaking.load.enqueued["Poison"],
        "events_left": client.xlen("sk:events"),
        "events_dropped": int(client.get("sk:events:dropped") or 0),
        "drained_s": round(drained_s, 2),
        "dead": dict(dead),
        "processed": int(client.get("stat:processed")),
        "failed": int(client.get("stat:failed")),
        "killed": [int(marker.read_text()) for marker in soaking.folder.glob("killed-*")],
    }


def remembered(client: Any) -> list[bytes]:
    """Return the names of processes that were killed in the last 10 s: a wait of theirs may still be served."""
    owners = client.zrange("sk:owners", 0, -1)
    return [owner for owner in owners if client.hexists(f"sk:inflight:{owner.decode()}", "fenced")]


def is_drained(client: Any) -> bool:
    held = sum(client.hlen(f"sk:inflight:{owner.decode()}") > 3 for owner in client.zrange("sk:owners", 0, -1))
    return not (held or client.xlen("sk:events") or client.zcard("retry") or client.zcard("schedule") or any(client.llen(f"queue:{name.decode()}") for name in client.smembers("queues")))


def checks(left: dict[str, Any], samples: list[dict[str, Any]], minutes: float) -> dict[str, bool]:
    """What must hold at the end; and that what is to be soaked has happened."""
    keys, kills = samples[-1]["keys"], len(left["killed"])
    return {
        **{f"{name.replace('_', ' ')}: none": not left[name] for name in NOTHING},
        f"metrics keys: at most {METRICS} a minute": keys.get("metrics", 0) <= METRICS * (minutes + 2),
        f"crash keys: at most {BLAME} a kill": keys.get("crashes", 0) <= BLAME * kills,
        "jobs have killed their process": kills >= 3,
        f"rows of history: at least {MOST_ROWS:,}, at most three times as many": MOST_ROWS <= samples[-1]["rows"] <= 3 * MOST_ROWS,
        f"events that wait for the recorder: at most {MOST_WAITING}": max(s["events"] for s in samples) <= MOST_WAITING,
        "children were recycled": bool(recycled(left, samples)),
    }


def recycled(left: dict[str, Any], samples: list[dict[str, Any]]) -> set[int]:
    """Workers that were seen, were not killed by a job, and are gone before the end."""
    seen = [{p["pid"] for p in sample["processes"] if p["role"] == "worker"} for sample in samples]
    return set.union(*seen) - seen[-1] - set(left["killed"])


def report(result: dict[str, Any]) -> bool:
    for row in result["series"]:
        verdict = "ok" if row["holds"] else "BROKEN"
        print(f"{row['series']:50} {row['start']:>14,.1f} {row['gain']:>+12,.1f}  may gain {row['stated']:>5}  {verdict}")
    for name, holds in result["checks"].items():
        print(f"{name:80} {'ok' if holds else 'BROKEN'}")
    print(json.dumps(result["end"]))
    return all(row["holds"] for row in result["series"]) and all(result["checks"].values())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--out", type=Path, default=RESULT)
    arguments = parser.parse_args()
    with ExitStack() as stack:
        soaking = Soaking(stack, arguments.minutes)
        samples = watch(soaking, arguments.minutes * 60)
        enqueued = dict(soaking.load.enqueued)
        left = finish(soaking)
    from benchmarks.soak_lines import rows

    warm = [sample for sample in samples if sample["t_s"] >= arguments.minutes * 60 / 5]
    result = {
        "machine": f"{os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}",
        "minutes": arguments.minutes, "enqueued": enqueued, "series": rows(warm),
        "checks": checks(left, samples, arguments.minutes), "end": left, "samples": samples,
    }  # fmt: skip
    arguments.out.write_text(json.dumps(result) + "\n")
    sys.exit(0 if report(result) else 1)


if __name__ == "__main__":
    main()
