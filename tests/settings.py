"""Django settings of the test session. Redis' address is set by conftest, which starts the server."""

from __future__ import annotations

import os
from pathlib import Path

BASE_DIR = Path(__file__).resolve().parent
SECRET_KEY = "tests"
DEBUG = False
USE_TZ = True
TIME_ZONE = "UTC"
INSTALLED_APPS = [
    "django.contrib.contenttypes",
    "django.contrib.auth",
    "django_sidekick",
    "tests.app",
]
ROOT_URLCONF = "tests.app.urls"
DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": os.environ.get("TEST_SQLITE", ":memory:"),
        "TEST": {"NAME": os.environ.get("TEST_SQLITE_TEST")},
    },
    "other": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"},
}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
CACHES = {"default": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"}}
SIDEKICK = {"REDIS": os.environ.get("SIDEKICK_TEST_REDIS", "redis://127.0.0.1:1/0")}
