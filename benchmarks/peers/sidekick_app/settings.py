"""Defaults, but for the address, the folder, the number of coroutines, and, in `fast`, the job lines."""

from __future__ import annotations

import os
from pathlib import Path
from urllib.parse import urlsplit

from adapters import CONC, PROFILE, REDIS_URL

SECRET_KEY = "bench"
USE_TZ = True
INSTALLED_APPS = ["django_sidekick", "sidekick_app"]
DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}}
SIDEKICK = {
    "REDIS": REDIS_URL,
    # One folder a server: runs that are killed leave their journals, and several run at once.
    "RUNTIME_DIR": Path(os.environ["BENCH_SLOTS"]).parent / f"run-{urlsplit(REDIS_URL).port}",
    "ASYNC_CONCURRENCY": CONC,  # 100 by default: more at once than the harness asks of the others
    "HISTORY": "off",
}
if PROFILE == "fast":
    SIDEKICK["LOG_JOBS"] = False
