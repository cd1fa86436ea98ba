"""Django settings of the test session. The server that conftest starts listens at the port chosen here."""

from __future__ import annotations

import os
import socket
import tempfile
from pathlib import Path

from testproject.database import database

BASE_DIR = Path(__file__).resolve().parent
SECRET_KEY = "tests"
DEBUG = False
USE_TZ = True
TIME_ZONE = "UTC"
INSTALLED_APPS = [
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.messages",
    "django.contrib.sessions",
    "django.contrib.staticfiles",
    "django_sidekick",
    "tests.app",
    "tests.crash",
]
MIDDLEWARE = [
    "testproject.policy.strict_policy",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.locale.LocaleMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
]
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ]
        },
    }
]
STATIC_URL = "static/"
ROOT_URLCONF = "tests.app.urls"
DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": ":memory:",
        "TEST": {"NAME": Path(tempfile.gettempdir()) / f"sidekick-tests-{os.getpid()}.sqlite3"},
    },
    "other": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"},
}
if "SIDEKICK_TEST_DATABASE" in os.environ:  # of a worker beside the tests that is to write the mirror
    DATABASES["default"] = database(os.environ["SIDEKICK_TEST_DATABASE"], Path(os.environ.get("SIDEKICK_TEST_SQLITE", "")))
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
CACHES = {"default": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"}}


_GIVEN: set[int] = set()


def free_port() -> int:
    """Return a port of the loopback address that nobody listens at, and no other that was given away here.

    Each worker of pytest-xdist has ports of its own: whoever was given one listens seconds later, and may stop and start.
    """
    number, count = os.environ.get("PYTEST_XDIST_WORKER", "gw0")[2:], os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1")
    while True:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = int(probe.getsockname()[1])
        if (port // 2 - int(number)) % int(count) == 0 and port not in _GIVEN:  # the kernel gives away odd ones
            _GIVEN.add(port)
            return port


def keep_to_itself(worker: str) -> None:
    """Give a worker of pytest-xdist a server and a folder of its own: it inherits the names of another's."""
    if os.environ.get("SIDEKICK_TEST_WORKER") != worker:
        os.environ["SIDEKICK_TEST_WORKER"] = worker
        os.environ["SIDEKICK_TEST_PORT"] = str(free_port())
        os.environ["SIDEKICK_TEST_RUNTIME_DIR"] = tempfile.mkdtemp(prefix="sidekick-run-")


if "PYTEST_XDIST_WORKER" in os.environ:
    keep_to_itself(os.environ["PYTEST_XDIST_WORKER"])
SIDEKICK_TEST_PORT = int(os.environ.setdefault("SIDEKICK_TEST_PORT", str(free_port())))
SIDEKICK = {
    **{key: os.environ[f"SIDEKICK_TEST_{key}"] for key in ("RUNTIME_DIR", "LOG_FORMAT") if f"SIDEKICK_TEST_{key}" in os.environ},
    "HISTORY": os.environ.get("SIDEKICK_TEST_HISTORY", "off"),  # workers beside the tests have a database without tables
    "REDIS": f"redis://127.0.0.1:{SIDEKICK_TEST_PORT}/0",
    **{key: int(os.environ[f"SIDEKICK_TEST_{key}"]) for key in ("CHILD_MAX_JOBS", "CHILD_MAX_MEMORY_MIB") if f"SIDEKICK_TEST_{key}" in os.environ},
}
