"""No page answers 500, and none lets markup through, whatever stands in Redis."""

from __future__ import annotations

import json

import pytest
from django.urls import reverse

from django_sidekick.broker.numbers import names_in
from tests.dashboard.live import NAMES, SCRIPT, hostile

PAGES = ["overview", "queues", "busy", "processes", "metrics"]


@pytest.fixture
def ruins(redis):
    from datetime import UTC, datetime

    hostile(redis)
    now = datetime.now(UTC)
    redis.hset(f"j|{now:%y%m%d}|{now.hour}:{now:%M}", mapping={b"\xff|p": 1, f"{SCRIPT}|p": 5, f"{SCRIPT}|f": 9, "x|ms": "1e300", "odd": 1, "a|b|p": 2, "|p": 1})
    redis.set(f"stat:failed:{now:%Y-%m-%d}", "nan")
    return redis


@pytest.mark.parametrize("page", PAGES)
@pytest.mark.parametrize("query", ["", "?live=1", "?q=script", "?q=%00&p=-1&days=x&minutes=1e9&o=__class__&process=~zz", "?p=99999999999999"])
def test_whatever_stands_in_redis_a_page_opens_and_escapes_it(ruins, client, destroyer, page, query):
    answer = client.get(reverse(f"admin:sidekick_{page}") + query)

    assert answer.status_code == 200
    text = answer.content.decode()
    shown = json.loads(text)["parts"].values() if query == "?live=1" else [text]
    assert not [part for part in shown if SCRIPT in part]


@pytest.mark.parametrize("name", names_in(set(NAMES)), ids=ascii)
@pytest.mark.parametrize("query", ["", "?live=1", "?q=script", "?q=~"])
def test_a_queue_of_any_name_and_content_opens(ruins, client, destroyer, name, query):
    answer = client.get(reverse("admin:sidekick_queue", args=[name]) + query)

    assert answer.status_code == 200
    assert SCRIPT not in answer.content.decode().replace("\\u003C", "<")


@pytest.mark.parametrize("name", [*names_in(set(NAMES)), "wrong", "nowhere", "\ud800"], ids=ascii)
def test_a_queue_of_any_name_is_paused_resumed_and_cleared(ruins, client, destroyer, name):
    ruins.delete("paused")
    url = reverse("admin:sidekick_queue", args=[name])
    for act in ("pause", "resume", "clear", "delete"):
        answer = client.post(url, {"action": act, "post": "yes", "_selected_action": "1|x"})
        assert answer.status_code == 302
        assert client.get(answer["Location"]).status_code == 200
        assert (ruins.scard("paused") == 1) == (act == "pause")


@pytest.mark.parametrize("act", ["quiet", "stop"])
def test_processes_of_any_name_are_asked(ruins, client, destroyer, act):
    url = reverse("admin:sidekick_processes")
    assert client.post(url, {"action": "stop", "select_across": "1"}).status_code == 200

    answer = client.post(url, {"action": act, "select_across": "1", "post": "yes"})

    assert answer.status_code == 302
    assert client.get(answer["Location"]).status_code == 200
    assert ruins.lindex(f"{SCRIPT}-signals", 0) in (b"TSTP", b"TERM")
