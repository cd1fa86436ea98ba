"""How far the history is behind is said where one looks, and only if there is something to say."""

from __future__ import annotations

import io
import json
from html import unescape

import pytest
from django.core.management import call_command
from django.urls import reverse

from django_sidekick.broker.lag import Lag
from django_sidekick.dashboard.behind import behind
from tests.conftest import free_port
from tests.dashboard.live import SCRIPT

OVERVIEW = reverse("admin:sidekick_overview")
LIST = "/admin/django_sidekick/jobrecord/"


@pytest.mark.parametrize(
    ("lag", "said"),
    [
        (Lag(0, 0, 0, "", False), []),
        (Lag(3, 5000, 0, "", True), []),
        (Lag(1, 5000, 0, "", False), ["Nobody writes the history: no recorder runs, which is a part of runworker.", "1 batch of events (4.9 KiB) waits to be written into it."]),
        (Lag(1200, 2**21, 0, "", True), ["The history is behind: 1,200 batches of events (2.0 MiB) wait to be written."]),
        (Lag(2, 50, 0, "no such table", False), ["The history cannot be written for now: no such table", "2 batches of events (50 B) wait to be written into it."]),
        (Lag(0, 0, 1, "", True), ["1 event is missing in the history: there was no room for it."]),
        (Lag(0, 0, 12345, "", True), ["12,345 events are missing in the history: there was no room for them."]),
    ],
)
def test_what_is_said(lag, said):
    assert behind(lag) == said


@pytest.mark.django_db
def test_nothing_is_said_of_a_history_that_is_written(redis, client, viewer):
    redis.set("sk:recorder", "host:1:abc")
    redis.xadd("sk:events", {"b": b"x"})

    for url in (OVERVIEW, LIST):
        assert "sk-note sk-behind" not in client.get(url).content.decode()


def test_overview_list_and_status_say_what_waits_what_is_missing_and_why(redis, client, viewer):
    redis.xadd("sk:events", {"b": b"x" * 2000})
    redis.set("sk:events:bytes", 2000)
    redis.set("sk:events:dropped", 4321)
    redis.set("sk:events:stuck", f"no such table {SCRIPT}")

    part = json.loads(client.get(OVERVIEW + "?live=1").content)["parts"]["sk-behind"]
    status = io.StringIO()
    call_command("sidekick", "status", stdout=status)

    for text in (client.get(OVERVIEW).content.decode(), client.get(LIST).content.decode(), part):
        assert SCRIPT not in text
        assert f"cannot be written for now: no such table {SCRIPT}" in unescape(text)
        assert "1 batch of events (2.0 KiB) waits" in text
        assert "4,321 events are missing" in text
    for line in ("1 batches of events wait (2000 bytes)", "cannot be written: no such table", "4321 events were dropped"):
        assert line in status.getvalue()


@pytest.mark.parametrize("kind", ["hash", "text"])
def test_keys_of_the_stream_that_hold_something_else_say_nothing(redis, client, viewer, kind):
    for key in ("sk:events", "sk:events:bytes", "sk:events:dropped", "sk:events:stuck"):
        redis.hset(key, "a", "b") if kind == "hash" else redis.set(key, b"\xff")

    for url in (OVERVIEW, LIST):
        assert client.get(url).status_code == 200


def test_without_redis_the_list_opens(db, client, viewer, sidekick_settings):
    sidekick_settings(REDIS=f"redis://127.0.0.1:{free_port()}/0")

    assert client.get(LIST).status_code == 200
