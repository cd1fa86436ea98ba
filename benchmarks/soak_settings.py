"""Django settings of the soak: limits small enough to be met many times in ten minutes."""

from __future__ import annotations

import os
from pathlib import Path

FOLDER = Path(os.environ["SOAK_FOLDER"])
SECRET_KEY = "soak"
USE_TZ = True
INSTALLED_APPS = ["django_sidekick", "benchmarks.soak_jobs.Soak"]
_POSTGRESQL = {
    "ENGINE": "django.db.backends.postgresql",
    "HOST": "127.0.0.1",
    "PORT": os.environ.get("SOAK_PG_PORT", ""),
    "USER": os.environ.get("SOAK_PG_USER", ""),
    "NAME": "postgres",
}
_SQLITE = {
    "ENGINE": "django.db.backends.sqlite3",
    "NAME": FOLDER / "soak.sqlite3",
    "OPTIONS": {"timeout": 20, "transaction_mode": "IMMEDIATE", "init_command": "PRAGMA journal_mode=WAL"},
}
DATABASES = {"default": _POSTGRESQL if "SOAK_PG_PORT" in os.environ else _SQLITE}
SIDEKICK = {
    "REDIS": f"redis://127.0.0.1:{os.environ['BENCH_PORT']}/0",
    "QUEUES": {"default": 3, "low": 1},
    "DEAD_MAX_JOBS": 50,
    "CHILD_MAX_JOBS": 20_000,
    "WORKER_CONN_MAX_AGE": 20,
    "RUNTIME_DIR": FOLDER / "run",
    "HISTORY": "finished",
    "HISTORY_MAX_ROWS": 5_000,
}
