"""A worker that writes events: all that `runworker` puts together, in a process group of its own.

Its events are the tests' own, which no recorder reads; or, with `history`, those of the mirror.
"""

from __future__ import annotations

import json
import logging
import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import django

from django_sidekick.broker.recovery import OwnerRegister
from django_sidekick.conf import get_settings
from tests.crash.ledger import Ledger
from tests.workers import ROOT, WorkerProcess


def main() -> None:
    order = json.loads(sys.argv[1])
    logging.basicConfig(format="%(created)f %(process)d %(levelname)s %(message)s")
    os.environ["SIDEKICK_TEST_LEDGER"] = order["ledger"]
    django.setup()
    from django.test import override_settings

    settings = {"REDIS": order["url"], "RUNTIME_DIR": order["runtime_dir"], "LOG_JOBS": False, "HISTORY": order["history"]}
    override_settings(SIDEKICK=settings).enable()

    from django_sidekick.management.commandline import CommandLine, worker_options
    from django_sidekick.management.workers import Crew
    from django_sidekick.worker import supervised
    from tests.crash.jobs import events_of

    supervised.RestartBackoff.pause_s = lambda self, lifetime_s: 0.0  # children are killed young here
    own = events_of if order["history"] == "off" else None
    crew = Crew(worker_options(CommandLine(**order["words"])), own)
    if order["words"]["processes"]:
        crew.run_supervised()
    else:
        crew.run_alone()


class CrewProcess(WorkerProcess):
    """One such worker. `words`: see management.commandline.CommandLine. `history`: the environment of one that writes it."""

    def __init__(self, ledger: Ledger, url: str, *, history: dict[str, str] | None = None, **words: Any) -> None:
        order = {
            "url": url, "ledger": str(ledger.path), "runtime_dir": str(ledger.path.parent / "run"),
            "history": "finished" if history else "off",
            "words": {"processes": 2, "concurrency": 5, **words},
        }  # fmt: skip
        self.log = Path(tempfile.mkstemp(prefix="sidekick-crew-")[1])
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.crash.crew", json.dumps(order)],
            env={**os.environ, "DJANGO_SETTINGS_MODULE": "tests.settings", "PYTHONPATH": str(ROOT), **(history or {})},
            cwd=ROOT,
            stdout=subprocess.DEVNULL,
            stderr=self.log.open("w"),
            start_new_session=True,
        )

    def __enter__(self) -> CrewProcess:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def send_all(self, number: signal.Signals) -> None:
        """Signal the supervisor and all its children at one moment."""
        os.killpg(self.process.pid, number)

    def kill(self) -> None:
        self.send_all(signal.SIGKILL)
        self.process.wait(30)


def is_empty(redis: Any) -> bool:
    """Tell whether no job is anywhere but in the dead set."""
    waits = redis.exists("queue:default", "queue:default:quarantine", "retry", "schedule")
    return not waits and not OwnerRegister(redis, get_settings()).holders()


def left(redis: Any) -> list[bytes]:
    """Return the keys that hold jobs, or belong to an owner of jobs.

    A name whose wait was cut off is remembered for 10 s, fenced and holding nothing: it is nobody's.
    """
    names = [key for key in redis.keys("*") if key.startswith((b"sk:", b"queue:", b"retry", b"schedule"))]
    names = [name for name in names if not name.startswith((b"sk:events", b"sk:push:", b"sk:crashes:"))]
    remembered = {b"sk:inflight:" + owner for owner in redis.zrange("sk:owners", 0, -1)}
    remembered = {name for name in remembered if set(redis.hkeys(name)) <= {b"fenced", b"queues"}}
    if {b"sk:inflight:" + owner for owner in redis.zrange("sk:owners", 0, -1)} == remembered:
        remembered.add(b"sk:owners")
    return [name for name in names if name not in remembered]


if __name__ == "__main__":
    main()
