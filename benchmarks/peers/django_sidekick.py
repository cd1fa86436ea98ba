"""django-sidekick under its supervisor: `runworker -p P -c C`."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable

import django
from adapters import VARIANT

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "sidekick_app.settings")
django.setup()

from sidekick_app.jobs import ASYNC, SYNC  # noqa: E402 job classes need Django

DISTS = ["django-sidekick", "Django", "redis", "hiredis", "orjson"]
_SETTINGS = (
    "job lines off (on in F), history off (nothing is recorded yet), all else default: reliable fetch, "
    "supervisor and service process, middleware, metrics, journal"
)
VARIANTS = {
    "django-sidekick": {
        "n": 290_000,
        "bulk_n": 20_000,
        "shape": "supervisor, service, P x C threads",
        "settings": _SETTINGS,
        "crash": ["default", "reliable"],
    },
    "django-sidekick-async": {
        "n": 290_000,
        "bulk_n": 20_000,
        "shape": "supervisor, service, P x C threads and C coroutines",
        "settings": _SETTINGS + "; async def jobs, ASYNC_CONCURRENCY lowered from 100 to C",
        "crash": ["default"],
    },
}
CRASH_NOTES = {
    "default": "default settings: at least once; with its supervisor dead too, a process' jobs come back "
    "when its lease of 15 s is over; the journal settles what had finished",
    "reliable": "the same as default: there is nothing to set, and no time-out was lowered",
}
JOBS = ASYNC if VARIANT == "django-sidekick-async" else SYNC


def enqueue(job: str, i: int) -> None:
    JOBS[job].perform_later(i)


def enqueue_bulk(job: str, ids: Iterable[int]) -> None:
    JOBS[job].perform_bulk([(i,) for i in ids])


def commands(procs: int, conc: int) -> list[list[str]]:
    words = ["env", "DJANGO_SETTINGS_MODULE=sidekick_app.settings", sys.executable, "-m", "django"]
    return [[*words, "runworker", "-p", str(procs), "-c", str(conc)]]
