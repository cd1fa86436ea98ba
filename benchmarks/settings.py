"""Django settings of the benchmarks: a default configuration without job lines."""

from __future__ import annotations

import os
from pathlib import Path

from testproject.database import database

SECRET_KEY = "bench"
USE_TZ = True
INSTALLED_APPS = ["django_sidekick", "benchmarks"]
DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}}
if "BENCH_SQLITE" in os.environ:
    DATABASES["default"] = database(os.environ["BENCH_DATABASE"], Path(os.environ["BENCH_SQLITE"]))
SIDEKICK = {"REDIS": f"redis://127.0.0.1:{os.environ.get('BENCH_PORT', '6379')}/0", "LOG_JOBS": False, "HISTORY": os.environ.get("BENCH_HISTORY", "off"), "ASYNC_CONCURRENCY": int(os.environ.get("AC", "100"))}
