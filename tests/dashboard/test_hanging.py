"""Redis or the history's database hangs, or is gone: each page answers within a second, says so, and shows the rest."""

from __future__ import annotations

import os
import signal
import socket
import threading
import time
from functools import partial
from pathlib import Path

import pytest
from django.core.management import call_command
from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django.urls import reverse

from django_sidekick.dashboard import probe, recall
from django_sidekick.models import JobRecord
from testproject.database import database
from tests.conftest import RedisServer, free_port, in_time, wait_until
from tests.dashboard.live import beat, enqueue, job
from tests.dashboard.records import JID, record

LIST = "/admin/django_sidekick/jobrecord/"
JOB = reverse("admin:sidekick_job", args=[JID])
SEARCH = reverse("admin:sidekick_search") + f"?q={JID}"
LIVE = [reverse(f"admin:sidekick_{name}") for name in ("overview", "queues", "busy", "processes", "metrics", "retries", "scheduled", "dead")]
WITHIN_S = 1.0


@pytest.fixture(autouse=True)
def patience():
    """As people have it."""


def ensure_connection(self):
    """As Django's own: that of a test refuses each database that is not wrapped into the test's transaction."""
    if self.connection is None:
        with self.wrap_database_errors:
            self.connect()


@pytest.fixture
def silent():
    """A port that is connected to, and never answers: a paused server, or a path that swallows all."""
    with socket.create_server(("127.0.0.1", 0), backlog=100) as server:
        yield server.getsockname()[1]


@pytest.fixture
def elsewhere(db, client, viewer, redis, sidekick_settings, monkeypatch):
    """Return a function that keeps the history in another database; there are a job in Redis and one process."""
    monkeypatch.setattr(BaseDatabaseWrapper, "ensure_connection", ensure_connection)
    redis.zadd("retry", {job(JID): time.time() + 600})
    enqueue(redis, job())
    beat(redis)

    def keep(words, **keys):
        connections.settings["elsewhere"] = words
        connections.settings = connections.configure_settings(connections.settings)
        return sidekick_settings(HISTORY_DATABASE="elsewhere", **keys)

    yield keep
    probe._hanging.clear()
    connections["elsewhere"].close()
    del connections["elsewhere"], connections.settings["elsewhere"]


def postgresql(port):
    return database(f"postgresql://postgres@127.0.0.1:{port}/postgres", Path())


def mysql(port):
    pytest.importorskip("pymysql")
    import tests.mariadb  # noqa: F401 it stands in for mysqlclient

    return {"ENGINE": "django.db.backends.mysql", "NAME": "mirror", "USER": "root", "HOST": "127.0.0.1", "PORT": str(port)}


def opened(client, url, within_s=WITHIN_S):
    answer = in_time(partial(client.get, url, follow=True), within_s, forget)
    assert answer.status_code == 200
    return answer.content.decode()


def await_opened(client, url, is_whole):
    """A busy machine may hold up a server for longer than a page waits for it."""
    wait_until(lambda: is_whole(opened(client, url, 5)), f"{url} without trouble")


def forget():
    """As if the last page had been long ago."""
    probe._hanging.clear()


def check_sql_away(client, what):
    for url, rest in ((JOB, "in retries, one of 1"), (LIST, "What Redis holds now is on the live pages"), (SEARCH, "in retries, one of 1")):
        forget()
        text = opened(client, url)
        assert "The history in the database “elsewhere” cannot be read" in text, url
        assert what in text
        assert rest in text
    for url in LIVE:
        assert "cannot be read" not in opened(client, url)


@pytest.mark.parametrize("vendor", [postgresql, mysql])
def test_a_database_that_never_answers(elsewhere, client, silent, vendor):
    elsewhere(vendor(silent))

    check_sql_away(client, "no answer within 0.6 s")


def test_a_database_that_is_stopped(elsewhere, client):
    elsewhere(postgresql(free_port()))

    check_sql_away(client, "refused")


def paused(cluster, backend):
    """The server's processes that a web server speaks with: the one that lets in, and the one behind a connection."""
    postmaster = int((cluster.folder / "data" / "postmaster.pid").read_text().split()[0])
    return [postmaster, *([backend] if backend else [])]


@pytest.mark.parametrize("max_age_s", [0, 600], ids=["connected anew", "kept connected"])
def test_a_postgresql_that_is_paused_and_goes_on(elsewhere, client, cluster, max_age_s):
    elsewhere({**database(cluster.url, Path()), "CONN_MAX_AGE": max_age_s})
    call_command("migrate", database="elsewhere", run_syncdb=True, verbosity=0)
    JobRecord.objects.using("elsewhere").all().delete()
    record(database="elsewhere", error_class="E", error_message="kept elsewhere")
    await_opened(client, JOB, lambda text: "kept elsewhere" in text)
    backend = 0
    if max_age_s:
        with connections["elsewhere"].cursor() as cursor:
            backend = cursor.execute("SELECT pg_backend_pid()").fetchone()[0]
    else:
        connections["elsewhere"].close()
    processes = paused(cluster, backend)
    for pid in processes:
        os.kill(pid, signal.SIGSTOP)
    try:
        check_sql_away(client, "no answer within 0.6 s")
    finally:
        for pid in processes:
            os.kill(pid, signal.SIGCONT)

    wait_until(lambda: "kept elsewhere" in opened(client, JOB), "the history to be read again")
    wait_until(lambda: not any(t.name == "sidekick-probe-elsewhere" for t in threading.enumerate()), "all probes to end")


def test_what_hangs_is_asked_ever_more_seldom(elsewhere, client, silent, monkeypatch):
    elsewhere(postgresql(silent))

    def recalling_s():
        began = time.monotonic()
        _, error = recall.recall(lambda alias: None, None)
        assert "no answer" in error
        return time.monotonic() - began

    assert recalling_s() >= probe.ANSWER_S
    assert recalling_s() < 0.1
    assert len(probe._hanging["elsewhere"]) == 1
    monkeypatch.setattr(probe, "PAUSE_S", 0.3)  # over by now
    assert recalling_s() >= probe.ANSWER_S
    assert len(probe._hanging["elsewhere"]) == 2


class Paused:
    """A Redis that is paused."""

    def __init__(self):
        self.server = RedisServer()
        self.server.process.send_signal(signal.SIGSTOP)
        self.url = self.server.url

    def close(self):
        self.server.process.send_signal(signal.SIGCONT)
        self.server.close()


@pytest.fixture(params=["paused", "silent", "refused"])
def hanging_redis(request):
    if request.param == "paused":
        server = Paused()
        yield server.url
        server.close()
    elif request.param == "silent":
        yield f"redis://127.0.0.1:{request.getfixturevalue('silent')}/0"
    else:
        yield f"redis://127.0.0.1:{free_port()}/0"


@pytest.mark.django_db
def test_a_redis_that_is_away_or_hangs(client, viewer, sidekick_settings, hanging_redis):
    sidekick_settings(REDIS=hanging_redis)
    record(error_message="kept all the same", error_class="E", state="dead")

    for url in LIVE:
        assert "is away" in opened(client, url), url
    assert "kept all the same" in opened(client, JOB)
    assert "kept all the same" in opened(client, LIST)
    assert "is in the history; Redis is away" in opened(client, SEARCH.replace("a" * 24, "b" * 24))


def test_a_redis_that_is_paused_while_it_is_connected(db, client, viewer, sidekick_settings):
    server = RedisServer()
    sidekick_settings(REDIS=server.url)
    record(error_message="kept all the same", error_class="E")
    for url in (*LIVE, JOB):
        await_opened(client, url, lambda text: "is away" not in text)
    server.process.send_signal(signal.SIGSTOP)
    try:
        for url in LIVE:
            assert "is away" in opened(client, url), url
        assert "kept all the same" in opened(client, JOB)
    finally:
        server.process.send_signal(signal.SIGCONT)
        server.close()
