from __future__ import annotations

import contextlib
import re
import sqlite3
import subprocess
import sys

import pytest
from django.core.checks import run_checks
from django.core.management import call_command
from django.db import connections

from django_sidekick import BaseJob, checks
from django_sidekick.exceptions import ConfigurationError
from django_sidekick.jobs.registry import JOBS
from tests.app.jobs import NoopJob
from tests.conftest import RedisServer, wait_until


def ids():
    return {message.id for message in run_checks(tags=["sidekick"])}


def test_the_tests_project_is_in_order(redis):
    assert ids() - {"sidekick.E004"} == set()


@pytest.mark.parametrize(
    "keys",
    [{"REDIS": "http://x"}, {"REDIS": "redis://127.0.0.1:99999/0"}, {"FEATURES": ["django.conf.settings"]},
     {"FEATURES": ["django_sidekick.push"]}, {"MIDDLEWARE": ["django.conf.settings"]}, {"MIDDLEWARE": [""]},
     {"MIDDLEWARE": ["tests.test_checks.forgetful_layer"]}, {"CLIENT_MIDDLEWARE": ["tests.test_checks.forgetful_layer"]},
     {"CLIENT_MIDDLEWARE": ["django_sidekick.BaseJob"]}, {"SERIALIZERS": ["no.such"]}, {"SERIALIZERS": ["django.conf.settings"]},
     {"SERIALIZERS": ["tests.app.jobs.NoopJob"]}, {"SERIALIZERS": [".."]}, {"ERROR_HANDLERS": ["django.conf.settings"]},
     {"ERROR_HANDLERS": ["tests.settings.TIME_ZONE"]}, {"NOPE": 1}, {"REDIS": "nowhere"}, {"MIDDLEWARE": ["no.such.layer"]}, {"CLIENT_MIDDLEWARE": ["no.such"]},
     {"FEATURES": ["tests.app.jobs.NoopJob"]}, {"ERROR_HANDLERS": ["no.such"]}, {"REDIS": ["redis://a", "redis://b"]}],
    ids=str,
)  # fmt: skip
def test_what_cannot_run_is_an_error(settings, keys):
    settings.SIDEKICK = keys

    assert ids() == {"sidekick.E001"}


@pytest.mark.parametrize("path", ["django.conf.settings", ".."])
@pytest.mark.parametrize("key", ["FEATURES", "MIDDLEWARE", "CLIENT_MIDDLEWARE", "SERIALIZERS", "ERROR_HANDLERS"])
def test_a_path_that_is_of_no_use_is_an_error_that_names_its_key(settings, key, path):
    settings.SIDEKICK = {key: [path]}

    (message,) = run_checks(tags=["sidekick"])
    assert f"SIDEKICK['{key}'] names '{path}'" in message.msg


def test_an_address_that_is_none_is_an_error_at_enqueue_too(settings, monkeypatch):
    settings.SIDEKICK = {"REDIS": "http://x"}
    with pytest.raises(ConfigurationError, match=r"SIDEKICK\['REDIS'\]"):
        NoopJob.perform_later()

    monkeypatch.setenv("REDIS_URL", "http://x")
    settings.SIDEKICK = {"KEY_PREFIX": "x"}
    with pytest.raises(ConfigurationError, match="REDIS_URL"):
        NoopJob.perform_later()


def forgetful_layer(call_next):
    def layer(job):
        return call_next(job)


@pytest.mark.parametrize(
    ("where", "cache", "shared"),
    [
        ("redis://127.0.0.1:1/3", "redis://localhost:1/3", True),
        ("redis://[::1]:1/3", "redis://user:secret@127.0.0.1:1/3", True),
        ("redis://10.0.0.1:1/3", "redis://localhost:1/3", False),
        ("redis://127.0.0.1:1/3", "redis://127.0.0.1:1/4", False),
        ("unix:///run/r.sock?db=1", "unix:///run/r.sock?db=1", True),
        (None, "redis://localhost:6379", True),
        ("REDIS_URL", "redis://localhost:7/2", True),
    ],
)
def test_a_cache_at_the_jobs_own_url_is_an_error(settings, monkeypatch, where, cache, shared):
    monkeypatch.delenv("REDIS_URL", raising=False)
    if where == "REDIS_URL":
        monkeypatch.setenv("REDIS_URL", "redis://127.0.0.1:7/2")
        where = None
    settings.CACHES = {"default": {"BACKEND": "django_redis.cache.RedisCache", "LOCATION": cache}}
    settings.SIDEKICK = {"REDIS": where}

    assert ("sidekick.E002" in ids()) == shared


def test_a_history_database_that_is_none_is_an_error(settings, monkeypatch):
    monkeypatch.setattr(checks, "JOBS", {})
    settings.SIDEKICK = {"HISTORY_DATABASE": "archive"}
    assert "sidekick.E005" in ids()
    settings.SIDEKICK = {"HISTORY_DATABASE": "archive", "HISTORY": "off"}
    assert "sidekick.E005" not in ids()
    monkeypatch.setattr(NoopJob, "history", "full")
    monkeypatch.setattr(checks, "JOBS", {NoopJob.name: NoopJob})
    assert "sidekick.E005" in ids(), "a class has a level of its own"


def test_two_classes_of_one_name_are_an_error():
    class One(BaseJob):
        class_name = "ClaimedTwice"

        def perform(self):
            pass

    class Two(One):
        class_name = "ClaimedTwice"

    try:
        (said,) = [m.msg for m in run_checks(tags=["sidekick"]) if m.id == "sidekick.E006" and "ClaimedTwice" in m.msg]
        assert ".One" in said
        assert ".Two" in said
    finally:
        JOBS.pop("ClaimedTwice")


def test_the_default_cache_and_a_shared_server_are_found(settings):
    redis_cache = {"BACKEND": "django_redis.cache.RedisCache", "LOCATION": "redis://127.0.0.1:1/3"}
    settings.CACHES = {"default": redis_cache, "jobs": dict(redis_cache)}
    settings.SIDEKICK = {"REDIS": "default"}

    assert {"sidekick.W002", "sidekick.E002"} <= ids()

    settings.CACHES = {"default": redis_cache, "jobs": {**redis_cache, "LOCATION": "redis://127.0.0.1:1/4"}}
    settings.SIDEKICK = {"REDIS": "jobs"}
    assert not {"sidekick.W002", "sidekick.E002"} & ids()


def test_a_class_that_ruby_could_not_call_is_an_error():
    class Shared(BaseJob):
        class_name = "SharedWithRuby"

        def perform(self, *, name=""):
            pass

    class BadOption(BaseJob):
        tags = "one"

        def perform(self):
            pass

    try:
        messages = [m.msg for m in run_checks(tags=["sidekick"]) if m.id == "sidekick.E004"]
        assert any("keyword-only" in text for text in messages)
        assert any("tags must be" in text for text in messages)
        Shared.kwargs = True
        assert not any("Shared" in m.msg for m in run_checks(tags=["sidekick"]))
    finally:
        JOBS.pop("SharedWithRuby")
        JOBS.pop(BadOption.name)


def problems_of_a_class(**attributes):
    made = type("Made", (BaseJob,), {"perform": lambda self: None, "__module__": __name__, **attributes})
    try:
        return [m.msg for m in run_checks(tags=["sidekick"]) if m.id == "sidekick.E004" and m.obj is made]
    finally:
        JOBS.pop(made.name)


@pytest.mark.parametrize(
    ("attributes", "says"),
    [
        ({"redact": None}, "redact must be a list of names, not None"),
        ({"redact": 5}, "redact must be a list of names, not 5"),
        ({"redact": "card"}, "redact must be a list of names"),
        ({"expires_in": "5 minutes"}, "expires_in must be a timedelta or seconds above 0"),
        ({"expires_in": -5}, "expires_in must be"),
        ({"using": "nope"}, r"using must be a database of DATABASES \(default, .*not 'nope'"),
        ({"using": []}, "using must be a database"),
        ({"queue_as": 5}, "queue_as must be"),
    ],
    ids=str,
)
def test_an_option_that_is_none_is_said_by_its_name(attributes, says):
    (message,) = problems_of_a_class(**attributes)
    assert re.search(says, message)


def yields(self):
    yield 1


async def yields_and_awaits(self):
    yield 1


@pytest.mark.parametrize("perform", [yields, yields_and_awaits])
def test_a_perform_that_would_never_run_is_said(perform):
    (message,) = problems_of_a_class(perform=perform)
    assert "perform holds a yield" in message


@pytest.mark.parametrize("kind", [classmethod, staticmethod])
def test_the_queue_may_be_chosen_by_a_method_of_the_class(kind):
    assert problems_of_a_class(queue_as=kind(lambda *args: "low"), redact=["card"], expires_in=5, using="other") == []


@pytest.fixture
def no_classes(monkeypatch):
    """None has a level of its own, whatever other tests have made."""
    monkeypatch.setattr(checks, "JOBS", {})


def test_an_evicting_server_is_a_warning_and_only_under_the_tag(settings, monkeypatch, no_classes):
    server = RedisServer("--maxmemory-policy", "allkeys-lru")
    try:
        settings.SIDEKICK = {"REDIS": server.url, "HISTORY": "off"}
        assert "sidekick.W001" not in ids()
        monkeypatch.setattr(sys, "argv", ["manage.py", "check", "--tag", "sidekick"])
        wait_until(lambda: "sidekick.W001" in ids(), "an answer of the server in the 0.2 s that it has")
    finally:
        server.close()


def test_a_server_that_is_away_is_silent(settings, no_classes):
    settings.SIDEKICK = {"REDIS": "redis://127.0.0.1:1/0", "HISTORY": "off"}

    assert checks.server_messages() == []


def test_the_command_runs():
    call_command("check", "--tag", "sidekick")


@pytest.mark.parametrize("pool", [{"max_size": 4}, True, {"timeout": 5}, {"min_size": 2, "max_size": None}], ids=str)
def test_a_pool_smaller_than_the_threads_is_a_warning(settings, monkeypatch, pool):
    options = {**connections["default"].settings_dict["OPTIONS"], "pool": pool}
    monkeypatch.setitem(connections["default"].settings_dict, "OPTIONS", options)

    assert "sidekick.W003" in ids()
    settings.SIDEKICK = {"CONCURRENCY": 2}
    assert "sidekick.W003" not in ids()


def test_another_apps_runworker_is_a_warning(monkeypatch):
    monkeypatch.setattr(checks, "get_commands", lambda: {"runworker": "channels"})

    assert "sidekick.W004" in ids()


def test_a_server_that_is_too_old_is_an_error(monkeypatch, redis, no_classes):
    monkeypatch.setattr(checks.health, "server_health", lambda *_, **__: checks.health.ServerHealth((6, 0), "6.0.16", "noeviction"))

    assert [message.id for message in checks.server_messages()] == ["sidekick.E003"]


def test_jobs_are_found_in_each_apps_jobs_module():
    code = "import django; django.setup(); from django_sidekick.jobs.registry import JOBS; print(*JOBS)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert {"tests.app.jobs.EchoJob", "tests.crash.jobs.SleepJob"} <= set(done.stdout.split())


@pytest.mark.parametrize("level", ["finished", "off"])
@pytest.mark.parametrize(("mode", "found"), [("DELETE", {"sidekick.W005"}), ("WAL", set())])
def test_a_history_in_a_sqlite_file_that_is_not_in_wal_mode_is_warned_of(
    redis, django_db_blocker, sidekick_settings, tmp_path, monkeypatch, mode, found, level
):
    monkeypatch.setattr(NoopJob, "history", "full")  # a class has a level of its own
    monkeypatch.setattr(checks, "JOBS", {NoopJob.name: NoopJob})
    place = tmp_path / "db.sqlite3"
    with contextlib.closing(sqlite3.connect(place)) as link:
        link.execute(f"PRAGMA journal_mode={mode}")
        link.execute("CREATE TABLE t (n INTEGER)")
    settings = {**connections.settings["default"], "NAME": place}
    monkeypatch.setitem(connections.settings, "mirror", settings)
    sidekick_settings(HISTORY_DATABASE="mirror", HISTORY=level)

    with django_db_blocker.unblock():
        assert {message.id for message in checks.server_messages()} == found
    assert connections["mirror"].connection is None, "a worker forks after this"
    del connections["mirror"]
