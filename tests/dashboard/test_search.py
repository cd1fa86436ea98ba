from __future__ import annotations

import json

import pytest
from django.urls import reverse

from django_sidekick.broker import whereabouts
from tests.conftest import free_port, in_time
from tests.dashboard.records import JID, record

pytestmark = pytest.mark.django_db(databases="__all__")
OTHER = "b" * 24


def search(client, text):
    return client.get(reverse("admin:sidekick_search"), {"q": text})


def leads_to(answer, jid):
    return answer.status_code == 302 and answer.headers["Location"] == reverse("admin:sidekick_job", args=[jid])


def job(jid=OTHER, **fields):
    return json.dumps({"class": "A", "args": [], "queue": "low", "jid": jid, **fields})


def test_a_jid_of_the_history_leads_to_its_job_even_without_redis(history, client, viewer, sidekick_settings):
    record(database=history)
    sidekick_settings(HISTORY_DATABASE=history, REDIS=f"redis://127.0.0.1:{free_port()}/0")

    assert leads_to(search(client, f" {JID} "), JID)


@pytest.mark.parametrize("place", ["queue", "retry", "dead", "schedule"])
def test_a_jid_in_redis_alone_leads_to_its_job(redis, client, viewer, place):
    if place == "queue":
        redis.sadd("queues", "low")
        redis.lpush("queue:low", job())
    else:
        redis.zadd(place, {job(): 1})

    assert leads_to(search(client, OTHER), OTHER)


@pytest.mark.parametrize("jid", ["a1", "7", "order 7", "a/b", " a", "a ", "ü", "\"'<>", "\0", "\n", "..", "x" * 300, "100%", "\\u0041"])
def test_any_text_that_is_a_jid_leads_to_its_job(redis, client, viewer, jid):
    redis.zadd("dead", {job(jid): 1, json.dumps({"jid": jid + "2"}): 2})

    answer = search(client, jid)

    assert leads_to(answer, jid)
    assert client.get(answer.headers["Location"]).context["place"].kind == "dead"


def test_the_beginning_of_one_jid_leads_to_its_job(redis, history, client, viewer):
    record("abcdef01", database=history)
    record("abcdef02", database=history)

    assert leads_to(search(client, "abcdef01"[:8]), "abcdef01")
    text = search(client, "abcdef").content.decode()
    assert "abcdef01" in text and "abcdef02" in text


def test_words_lead_to_the_lists_of_classes_and_errors(redis, history, client, viewer):
    record(database=history, job_class="shop.jobs.CleanUpOrder", error_class="shop.errors.OrderGone")

    text = search(client, "ORDER").content.decode()

    assert "/admin/django_sidekick/jobrecord/?class=shop.jobs.CleanUpOrder" in text
    assert "/admin/django_sidekick/jobrecord/?error=shop.errors.OrderGone" in text
    assert "/admin/django_sidekick/jobrecord/?q=ORDER" in text


def test_a_jid_that_is_nowhere_is_said_with_what_was_not_looked_at(redis, client, viewer, monkeypatch):
    monkeypatch.setattr(whereabouts.seek, "__kwdefaults__", {"within_s": None, "most": 5})
    redis.sadd("queues", "low")
    redis.rpush("queue:low", *(job(f"{number}") for number in range(9)))

    text = search(client, JID).content.decode()

    assert f"No job with the jid “{JID}” is in the history or in Redis." in text
    assert "not among the newest 5 of 9 in the queue low" in text


def test_without_redis_the_page_says_so_within_a_second(client, viewer, sidekick_settings):
    sidekick_settings(REDIS=f"redis://127.0.0.1:{free_port()}/0")

    text = in_time(lambda: search(client, JID), 1).content.decode()

    assert "is in the history; Redis is away" in text


@pytest.mark.parametrize("text", ["", "  ", "\0", "<script>", "a" * 5000, "\ud800".encode(errors="surrogatepass"), "100% sure", "../..", "'\";--"])
def test_any_text_can_be_searched_for(redis, client, viewer, text):
    record(job_class="<script>alert(1)</script>")

    answer = search(client, text)

    assert answer.status_code == 200
    assert "<script>alert" not in answer.content.decode()
