from __future__ import annotations

import sys

import pytest
from django.core.checks import run_checks
from django.core.management import call_command

from django_sidekick import BaseJob, checks
from django_sidekick.jobs.registry import JOBS
from tests.conftest import RedisServer


def ids():
    return {message.id for message in run_checks(tags=["sidekick"])}


def test_the_tests_project_is_in_order(redis):
    assert ids() - {"sidekick.E004"} == set()


@pytest.mark.parametrize(
    "keys",
    [{"NOPE": 1}, {"REDIS": "nowhere"}, {"MIDDLEWARE": ["no.such.layer"]}, {"CLIENT_MIDDLEWARE": ["no.such"]},
     {"FEATURES": ["tests.app.jobs.NoopJob"]}, {"ERROR_HANDLERS": ["no.such"]}, {"REDIS": ["redis://a", "redis://b"]}],
    ids=str,
)  # fmt: skip
def test_what_cannot_run_is_an_error(settings, keys):
    settings.SIDEKICK = keys

    assert ids() == {"sidekick.E001"}


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


def test_an_evicting_server_is_a_warning_and_only_under_the_tag(settings, monkeypatch):
    server = RedisServer("--maxmemory-policy", "allkeys-lru")
    try:
        settings.SIDEKICK = {"REDIS": server.url}
        assert "sidekick.W001" not in ids()
        monkeypatch.setattr(sys, "argv", ["manage.py", "check", "--tag", "sidekick"])
        assert "sidekick.W001" in ids()
    finally:
        server.close()


def test_a_server_that_is_away_is_silent(settings):
    settings.SIDEKICK = {"REDIS": "redis://127.0.0.1:1/0"}

    assert checks.server_messages() == []


def test_the_command_runs():
    call_command("check", "--tag", "sidekick")
