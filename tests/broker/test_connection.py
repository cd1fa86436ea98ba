from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import redis as redis_py

from django_sidekick.broker import connection
from django_sidekick.conf import get_settings
from django_sidekick.exceptions import ConfigurationError, EnqueueError
from tests.app.jobs import EchoJob, FailJob, NoopJob
from tests.conftest import RedisServer, redis_binary, wait_until
from tests.settings import free_port
from tests.workers import child, running, settled_by

ROOT = Path(__file__).resolve().parent.parent.parent


def test_a_cache_alias_gives_its_address_but_not_its_time_outs(redis, redis_url, settings):
    settings.CACHES = {
        "default": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"},
        "jobs": {
            "BACKEND": "django_redis.cache.RedisCache",
            "LOCATION": redis_url.replace("/0", "/3"),
            "OPTIONS": {"SOCKET_TIMEOUT": 0.01, "CONNECTION_POOL_KWARGS": {"decode_responses": True}},
        },
    }
    settings.SIDEKICK = {"REDIS": "jobs"}
    options = connection.worker_client(get_settings()).connection_pool.connection_kwargs
    assert (options["db"], options["socket_timeout"], options["decode_responses"]) == (3, 30.0, False)

    with running(child()):
        EchoJob.perform_later(1)
        wait_until(lambda: connection.client(get_settings(), socket_timeout_s=1).llen("echo"), "the job")

    assert redis.llen("echo") == 0


def test_what_a_url_says_besides_changes_no_rule_of_ours(redis, redis_url, sidekick_settings):
    sidekick_settings(REDIS=f"{redis_url}?decode_responses=True&socket_timeout=0.01&max_connections=1")

    with running(child("high", "low")):
        EchoJob.set(queue="low").perform_later(1)
        wait_until(lambda: redis.llen("echo"), "the job")


@pytest.mark.parametrize("place", ["nowhere", "default"])
def test_an_alias_that_is_no_redis_is_said_so(settings, place):
    settings.SIDEKICK = {"REDIS": place}

    with pytest.raises(ConfigurationError, match=place):
        connection.client(get_settings(), socket_timeout_s=1)


def test_the_environment_says_where_redis_is(settings, monkeypatch):
    settings.SIDEKICK = {}
    monkeypatch.setenv("REDIS_URL", "redis://elsewhere:7000/2")
    assert connection.location(connection.worker_client(get_settings())) == ("elsewhere", 7000)

    monkeypatch.delenv("REDIS_URL")
    assert connection.location(connection.worker_client(get_settings())) == ("127.0.0.1", 6379)


def test_a_socket_is_an_address_too(settings):
    settings.SIDEKICK = {"REDIS": "unix:///run/redis.sock?db=1"}

    assert connection.location(connection.worker_client(get_settings())) == ("/run/redis.sock", 0)


def test_key_prefix_stands_before_every_key(redis, sidekick_settings):
    sidekick_settings(KEY_PREFIX="shop:")

    with running(child()):
        EchoJob.perform_later(1)
        EchoJob.set(wait=0.05).perform_later(2)
        wait_until(lambda: redis.llen("echo") == 2, "both jobs")

    assert {key for key in redis.keys("*") if not key.startswith(b"shop:")} == {b"echo"}


def test_the_package_can_be_imported_before_django_is_set_up():
    code = "import django_sidekick; class_ = django_sidekick.BaseJob; print(class_.__name__)"

    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)

    assert done.stdout.strip() == "BaseJob", done.stderr


AUTOSTART = """
import os, sys
sys.argv = ["manage.py", "shell"]
from pathlib import Path
from django.conf import settings
settings.configure(DEBUG=True, USE_TZ=True, SIDEKICK={{"RUNTIME_DIR": {runtime!r}, "STATE_DIR": {state!r}}})
import django; django.setup()
from django_sidekick.broker import connection, embedded
embedded.DEFAULT_PORT = {port}
connection.DEFAULT_URL = "redis://127.0.0.1:{port}/0"
assert not embedded.answers({port})
from django_sidekick import push
print(push("HardJob").enqueued)
"""


def test_the_first_refused_push_starts_a_server_in_development(tmp_path, monkeypatch):
    from django_sidekick.broker import embedded
    from django_sidekick.conf import build_settings

    monkeypatch.delenv("REDIS_URL", raising=False)
    monkeypatch.delenv("DJANGO_SETTINGS_MODULE", raising=False)
    port, runtime, state = free_port(), str(tmp_path / "r"), str(tmp_path / "s")
    code = AUTOSTART.format(port=port, runtime=runtime, state=state)
    own = build_settings({"RUNTIME_DIR": runtime, "STATE_DIR": state})
    try:
        done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
        assert done.stdout.strip() == "True", done.stderr
        assert "started one for development" in done.stderr
        wait_until(lambda: embedded.answers(port), "its answer")
    finally:
        embedded.stop_server(own)


def test_a_server_that_has_become_a_replica_is_left(settings, tmp_path):
    """After a failover behind one name: the old server answers on, and only new connections lead to the new one."""
    place, new_place = tmp_path / "redis.sock", tmp_path / "new.sock"
    old, new = RedisServer("--unixsocket", str(place)), RedisServer("--unixsocket", str(new_place))
    raw, raw_new = redis_py.Redis(port=old.port), redis_py.Redis(port=new.port)
    try:
        settings.SIDEKICK = {"REDIS": f"unix://{place}"}
        with running(child()) as worker:
            NoopJob.perform_later("before")
            wait_until(lambda: settled_by(worker) == 1, "the job before")
            new_place.rename(place)
            raw.replicaof("127.0.0.1", new.port)
            assert NoopJob.perform_later("behind").enqueued
            wait_until(lambda: settled_by(worker) == 2 and not raw_new.llen("queue:default"), "the job behind")
            wait_until(lambda: raw_new.zscore("sk:owners", worker.ownership.identity), "the lease")
    finally:
        old.close()
        new.close()


@pytest.fixture
def sentinel(tmp_path):
    """A server, its replica, and a sentinel that looks after them: (server, replica, the sentinel's port)."""
    server, port = RedisServer("--repl-diskless-sync-delay", "0"), free_port()
    replica = RedisServer("--replicaof", "127.0.0.1", str(server.port))
    follower = redis_py.Redis(port=replica.port)
    wait_until(lambda: follower.info("replication")["master_link_status"] == "up", "the replica to follow")  # a sentinel looks every 10 s
    file = tmp_path / "sentinel.conf"
    lines = (f"port {port}", f"sentinel monitor jobs 127.0.0.1 {server.port} 1", "sentinel down-after-milliseconds jobs 500")
    file.write_text("\n".join((*lines, f"dir {tmp_path}")))
    process = subprocess.Popen([redis_binary(), str(file), "--sentinel"], stdout=subprocess.DEVNULL)
    raw = redis_py.Redis(port=port)
    try:
        wait_until(lambda: knows_a_replica(raw), "the sentinel to know the replica")
        yield server, replica, port
    finally:
        process.kill()
        process.wait()
        server.close()
        replica.close()


def knows_a_replica(raw):
    try:
        return [known for known in raw.sentinel_slaves("jobs") if known["master-link-status"] == "ok"]
    except redis_py.RedisError:
        return None


def test_sentinels_say_who_the_server_is(settings, sentinel):
    server, replica, port = sentinel
    settings.DJANGO_REDIS_CONNECTION_FACTORY = "django_redis.pool.SentinelConnectionFactory"
    settings.CACHES = {
        "default": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"},
        "jobs": {
            "BACKEND": "django_redis.cache.RedisCache",
            "LOCATION": "redis://jobs/0",
            "OPTIONS": {
                "CLIENT_CLASS": "django_redis.client.SentinelClient",
                "SENTINELS": [("127.0.0.1", port)],
                "CONNECTION_POOL_CLASS": "redis.sentinel.SentinelConnectionPool",
            },
        },
    }
    settings.SIDEKICK = {"REDIS": "jobs", "ENQUEUE_TIMEOUT": 60}  # one that was held up for 2 s touches nothing for 30 s
    raw = redis_py.Redis(port=replica.port)
    with running(child()) as worker:
        NoopJob.perform_later("before")
        wait_until(lambda: settled_by(worker) == 1, "the job before")
        server.stop()
        NoopJob.perform_later("behind")
        wait_until(lambda: settled_by(worker) == 2, "the job behind", 60)
        assert raw.zscore("sk:owners", worker.ownership.identity)
        assert not raw.exists("queue:default")


def test_a_server_out_of_memory_is_emptied_by_its_workers(settings):
    """Only what leaves makes room. One that begins now, what is due, what fails: nothing of it waits for room."""
    server = RedisServer()
    raw = redis_py.Redis(port=server.port)
    try:
        settings.SIDEKICK = {"REDIS": server.url}
        NoopJob.perform_bulk([(n, "x" * 1000) for n in range(50)])
        FailJob.perform_later()
        NoopJob.set(wait=0.5).perform_later()
        raw.config_set("maxmemory", 1)
        with pytest.raises(EnqueueError, match="Redis refuses: .*maxmemory"):
            NoopJob.perform_later()
        with running(child()) as worker:
            wait_until(lambda: settled_by(worker) == 52, "all of them")
            assert not raw.exists("queue:default", "schedule")
            assert raw.zcard("retry") == 1
            assert raw.zscore("sk:owners", worker.ownership.identity)
            raw.config_set("maxmemory", 0)
            NoopJob.perform_later()
            wait_until(lambda: settled_by(worker) == 53, "one more")
        assert raw.hlen(worker.ownership.inflight) == 0
    finally:
        server.close()
