"""No page answers 500, and none lets markup through, whatever stands in Redis."""

from __future__ import annotations

import json

import pytest
from django.contrib.admin.models import LogEntry
from django.urls import reverse

from django_sidekick.broker import whereabouts
from django_sidekick.broker.replies import names_in
from django_sidekick.history.arguments import UNFIT
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


ODD_JIDS = ["\ud800x", "a\0b"]
"""JSON may write them, and so Redis holds them; no database does."""


@pytest.fixture
def odd_places(redis):
    """A queue and a process whose names are no text, with a job in each."""
    job = {"class": "A", "args": []}
    redis.sadd("queues", b"\xff")
    redis.lpush(b"queue:\xff", json.dumps({**job, "jid": "q" * 24}))
    redis.sadd("processes", b"\xff")
    redis.hset(b"\xff", mapping={"info": "{}", "busy": 1, "beat": "1"})
    entry = {"queue": "low", "payload": json.dumps({**job, "jid": "p" * 24}), "run_at": 1}
    redis.hset(b"\xff:work", "t1", json.dumps(entry))
    return redis


@pytest.mark.parametrize(("jid", "where"), [("q" * 24, "in the queue \ufffd, number 1 of 1"), ("p" * 24, "busy on \ufffd")])
def test_a_job_is_shown_in_a_place_whose_name_is_no_text(odd_places, client, destroyer, jid, where):
    answer = client.get(reverse("admin:sidekick_job", args=[jid]))

    assert answer.status_code == 200
    assert where in answer.content.decode()


@pytest.mark.parametrize("path", ["job/~eda080/", "busy/?process=~edb080", "busy/?process=~edb3bf"])
def test_a_name_in_a_url_that_no_text_can_be_is_a_page(odd_places, client, destroyer, path):
    assert client.get(reverse("admin:sidekick_overview") + path).status_code == 200


def test_what_was_not_looked_through_may_have_any_name(odd_places, client, destroyer, monkeypatch):
    monkeypatch.setattr(whereabouts.seek, "__kwdefaults__", {"within_s": None, "most": 5})
    odd_places.rpush(b"queue:\xff", *map(str, range(9)))

    answer = client.get(reverse("admin:sidekick_job", args=["z" * 24]))

    assert answer.status_code == 200
    assert "in the queue \ufffd" in answer.content.decode()


@pytest.mark.parametrize("act", ["retry_now", "kill", "delete", "run_again"])
@pytest.mark.parametrize("jid", ODD_JIDS, ids=ascii)
def test_an_act_on_a_job_of_any_jid_is_done_and_logged_as_databases_can(redis, client, destroyer, jid, act):
    redis.zadd("retry", {json.dumps({"class": "A\ud800", "args": [], "jid": jid}): 1})

    answer = client.post(reverse("admin:sidekick_job", args=[jid]), {"action": act, "post": "yes"})

    assert answer.status_code == 302
    entry = LogEntry.objects.get()
    assert entry.change_message == act
    assert not UNFIT.search(entry.object_id + entry.object_repr)
    assert (redis.zcard("retry") == 1) == (act == "run_again")


@pytest.mark.parametrize("jid", ODD_JIDS, ids=ascii)
def test_an_act_on_a_list_is_done_and_logged_whatever_the_jid(redis, client, destroyer, jid):
    redis.zadd("retry", {json.dumps({"class": "A\ud800", "args": [], "jid": jid}): 1})
    url = reverse("admin:sidekick_retries")
    (row,) = client.get(url).context["shelf"].rows

    assert client.post(url, {"action": "retry_now", "_selected_action": row.name}).status_code == 302

    assert redis.zcard("retry") == 0
    entry = LogEntry.objects.get()
    assert entry.object_id == jid.replace("\ud800", "\ufffd").replace("\0", "\ufffd")
    assert not UNFIT.search(entry.object_repr)
