"""Django settings of benchmarks.admin_list: the admin, and two histories of different sizes."""

from __future__ import annotations

import os
from pathlib import Path

from benchmarks.settings_admin import *  # noqa: F403
from testproject.database import database

_DIR = Path(os.environ.get("BENCH_RECORDS_DIR", "."))
_URL = os.environ.get("BENCH_RECORDS_URL", "")
DATABASES = {
    "default": database("", _DIR / "default.sqlite3"),
    "small": database(f"{_URL.rstrip('/')}/small" if _URL else "", _DIR / "small.sqlite3"),
    "large": database(f"{_URL.rstrip('/')}/large" if _URL else "", _DIR / "large.sqlite3"),
}
ROOT_URLCONF = "benchmarks.urls"
