"""Forks processes that are ready to run at once: Django and all jobs are loaded here.

Takes a JSON object a line on stdin: {"role": "worker" | "client", "url", "ledger", "words"}; says the pid of each.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import traceback
from datetime import UTC, datetime, timedelta
from typing import Any

import django


def main() -> None:
    django.setup()
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    for line in sys.stdin:
        order = json.loads(line)
        pid = os.fork()
        if pid == 0:
            become(order)
        print(pid, flush=True)


def become(order: dict[str, Any]) -> None:
    code = 1
    try:
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        log = os.open(order["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(log, 1)
        os.dup2(log, 2)
        os.environ["SIDEKICK_TEST_LEDGER"] = order["ledger"]
        from django.test import override_settings

        settings = {"REDIS": order["url"], "RUNTIME_DIR": order["runtime_dir"], "LOG_JOBS": False, "HISTORY": "off"}
        override_settings(SIDEKICK=settings).enable()
        roles = {"worker": work, "client": push}
        roles[order["role"]](order)
        code = 0
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(code)


def work(order: dict[str, Any]) -> None:
    from django_sidekick.management.commandline import CommandLine, worker_options
    from django_sidekick.management.workers import Crew
    from tests.crash.jobs import events_of

    options = worker_options(CommandLine(processes=0, **order["words"]))
    Crew(options, events_of).run_alone()


def push(order: dict[str, Any]) -> None:
    from tests.crash.jobs import LedgerJob, note

    jobs, size, wait_s = (order["words"][name] for name in ("jobs", "size", "wait_s"))
    for number in range(jobs):
        at = datetime.now(UTC) + timedelta(seconds=wait_s) if wait_s else None
        LedgerJob.perform_bulk([(number * size + more, "ok") for more in range(size)], at=at)
        note("pushed", number)


if __name__ == "__main__":
    main()
