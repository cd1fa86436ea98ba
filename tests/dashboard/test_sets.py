"""The lists of retries, scheduled and dead: what a person sees."""

from __future__ import annotations

import base64
import json
import re
import time
import zlib
from functools import partial
from html import unescape
from pathlib import Path

import pytest
from django.urls import reverse

from django_sidekick.dashboard.show import class_element
from tests.conftest import in_time
from tests.dashboard.sets import SETS, fill, jids_in, job, names_in, page
from tests.golden.test_golden import member

SAMPLES = Path(__file__).parent.parent / "golden" / "samples"
PAIRS = sorted(SETS.items())
RESCHEDULE, NOTHING = 'name="action" value="reschedule"', 'formmethod="dialog"'


def test_retries_and_scheduled_begin_with_the_soonest_dead_with_the_newest(redis, client, viewer):
    for key in SETS.values():
        fill(redis, key, range(1, 251))

    assert jids_in(page(client, "retries")) == list(range(1, 101))
    assert jids_in(page(client, "scheduled", p=3)) == list(range(201, 251))
    assert jids_in(page(client, "dead")) == list(range(250, 150, -1))


@pytest.mark.parametrize(("name", "key"), PAIRS)
def test_pages_lead_to_their_neighbours_and_past_the_end_is_the_last(redis, client, viewer, name, key):
    fill(redis, key, range(1, 251))

    html = page(client, name, p=2)
    assert 'rel="prev" href="?p=1"' in html
    assert 'rel="next" href="?p=3"' in html
    assert "101 to 200 of 250 jobs" in html
    assert len(jids_in(page(client, name, p=99))) == 50


def test_a_row_says_what_is_known_of_a_failure(redis, client, viewer):
    lines = ["app/jobs.py:3:in `perform'", "<main>:1:in `<script>'"]
    packed = base64.b64encode(zlib.compress(json.dumps(lines).encode())).decode()
    due = time.time() + 3600
    raw = job(7, tags=["vip", "eu"], error_backtrace=packed, error_message="no <b>way</b>")
    redis.zadd("retry", {raw: due})

    html = page(client, "retries")

    for text in ("HardJob", f"{7:024x}", "vip", "eu", "low", "ValueError", "no &lt;b&gt;way", "&lt;main&gt;:1", "<details>"):
        assert text in html
    assert html.index("app/jobs.py:3") < html.index("&lt;main&gt;:1")
    assert "<time datetime=" in html
    assert "overdue" not in html


def test_a_job_whose_time_is_long_past_is_said_to_be_overdue(redis, client, viewer):
    redis.zadd("retry", {job(1): time.time() - 60})
    redis.zadd("dead", {job(1): time.time() - 60})

    assert "overdue" in page(client, "retries")
    assert "overdue" not in page(client, "dead")


def test_an_active_job_is_shown_by_its_own_name_and_arguments(redis, client, viewer):
    inner = {"job_class": "Mail::WelcomeJob", "job_id": "x", "arguments": ["ann", {"at": 5, "_aj_ruby2_keywords": ["at"]}]}
    for number, wrapper in enumerate(("Sidekiq::ActiveJob::Wrapper", "ActiveJob::QueueAdapters::SidekiqAdapter::JobWrapper")):
        fields = {"class": wrapper, "args": [inner]}
        redis.zadd("dead", {job(number, **(fields if number else {**fields, "wrapped": "Mail::WelcomeJob"})): number})
    redis.zadd("dead", {job(3, display_class="Shown as this"): 3})

    html = page(client, "dead")

    assert html.count('title="Mail::WelcomeJob"') == 2
    assert "&#x27;ann&#x27;" in html
    assert "at=5" in html
    assert ">Shown as this<" in html
    assert len(jids_in(page(client, "dead", **{"class": "Mail::WelcomeJob"}))) == 2


@pytest.mark.parametrize("case", ["job_fails_once", "job_fails_twice", "job_exhausted", "job_unknown_class", "schedule_at"])
def test_what_ruby_wrote_is_shown_right(redis, client, viewer, case):
    keys = json.loads((SAMPLES / f"{case}.json").read_text())["keys"]
    (key,) = {"retry", "dead", "schedule"} & set(keys)
    (entry,) = keys[key]["value"]
    payload = entry["member"]["json"]
    redis.zadd(key, {member({"json": payload}): time.time()})

    html = page(client, {kept: name for name, kept in SETS.items()}[key])

    assert class_element(payload["class"]) in html
    assert payload["queue"] in html
    assert payload.get("error_class", "") in html
    assert f"/live/job/{'d' * 24}/" in html


@pytest.mark.parametrize(("name", "key"), PAIRS)
@pytest.mark.parametrize(
    ("query", "wanted"),
    [
        ({"q": "HARD"}, [1]), ({"q": f"{2:024x}"}, [2]), ({"q": "needle"}, [3]), ({"q": "a'b"}, [2]), ({"q": "vip"}, [3]),
        ({"q": "nAïVe"}, [2]), ({"queue": "other"}, [3]), ({"class": "Soft"}, [2, 3]), ({"class": "Sof"}, []),
        ({"error": "KeyError"}, [2]), ({"class": "Soft", "q": "vip"}, [3]), ({"q": "kw: 5"}, []), ({"q": '"kw":5'}, [1]),
    ],
)  # fmt: skip
def test_filters_take_what_they_say(redis, client, viewer, name, key, query, wanted):
    redis.zadd(key, {job(1, kwargs={"kw": 5}): 1})
    redis.zadd(key, {job(2, **{"class": "Soft", "error_class": "KeyError", "error_message": "a'b naïve"}): 2})
    redis.zadd(key, {job(3, **{"class": "Soft", "args": [{"k": ["needle"]}], "queue": "other", "tags": ["vip"]}): 3})

    html = page(client, name, **query)

    assert sorted(jids_in(html)) == wanted
    assert f"{len(wanted)} of 3 jobs match" in html


@pytest.mark.parametrize(
    ("name", "words", "first"),
    [("dead", "the newest 1,000 of 3,500 jobs", 3500), ("retries", "the first 1,000 of 3,500 jobs", 1), ("scheduled", "the first 1,000 of 3,500 jobs", 1)],
)
def test_a_filter_looks_at_a_thousand_says_so_and_goes_further(redis, client, viewer, name, words, first):
    fill(redis, SETS[name], range(1, 3501))

    html = page(client, name, q="hardjob")

    assert f"1,000 match among {words}" in html
    assert len(jids_in(html)) == 100
    assert jids_in(html)[0] == first
    assert "?q=hardjob&amp;from=1000" in html
    further = page(client, name, q="hardjob", **{"from": 1000})
    assert jids_in(further)[0] == (2500 if name == "dead" else 1001)


HOSTILE = {
    "no json": b"\xff\xfe no json \x00",
    "number": b"5",
    "list": b'[1, "x"]',
    "null": b"null",
    "empty": b"",
    "empty object": b"{}",
    "deep": b'{"args":' + b"[" * 900 + b"]" * 900 + b',"class":"Deep","jid":"a"}',
    "too deep": b"[" * 5000,
    "class a list": b'{"class":["A"],"args":{"a":1},"queue":7,"jid":["x"],"tags":"a<b","retry_count":"x","error_class":{"a":[1]},"error_message":5}',
    "surrogates": b'{"class":"\\ud800","args":["\\udfff"],"queue":"\\ud800","jid":"\\ud800","error_message":"\\udc00","tags":["\\ud800"],"error_class":"\\ud800"}',
    "times": b'{"class":"A","args":[],"created_at":1e300,"failed_at":1e300,"retried_at":-1,"enqueued_at":"never","jid":"t"}',
    "odd jid": json.dumps({"class": "A", "args": [], "jid": "../a\nb/ <c>\"'?#%"}).encode(),
    "long number": b'{"class":"A","args":[%s],"retry_count":%s,"jid":"n"}' % (b"9" * 5000, b"9" * 5000),
    "backtraces": json.dumps({"class": "A", "args": [], "jid": "b", "error_backtrace": {"a": 1}}).encode(),
    "packed junk": json.dumps({"class": "A", "args": [], "jid": "p", "error_backtrace": "eJx="}).encode(),
    "bomb": json.dumps({"class": "A", "args": [], "jid": "z", "error_backtrace": base64.b64encode(zlib.compress(b"[" + b" " * 50_000_000 + b"]")).decode()}).encode(),
    "markup": json.dumps({"class": "<script>alert(1)</script>", "args": ["<script>"], "jid": "<i>", "queue": "<q>", "tags": ["<t>"], "error_class": "<e>", "error_message": "<m>", "error_backtrace": ["<script>x"]}).encode(),
    "wrapped oddly": b'{"class":"Sidekiq::ActiveJob::Wrapper","args":[{"job_class":["x"],"arguments":{"a":1}}],"jid":"w"}',
    "global id": b'{"class":"Sidekiq::ActiveJob::Wrapper","args":[{"job_class":"G","arguments":[{"_aj_globalid":"gid://a"}]}],"jid":"g"}',
    "deep inside": b'{"class":"Sidekiq::ActiveJob::Wrapper","args":[{"job_class":"D","arguments":' + b"[" * 950 + b"]" * 950 + b'}],"jid":"d"}',
}  # fmt: skip
SCORES = [float("inf"), float("-inf"), 1e300, -1e300, 0.0, -62_135_596_801.0, 253_402_300_800.0]


@pytest.mark.parametrize(("name", "key"), PAIRS)
@pytest.mark.parametrize("query", ["", "?q=x", "?class=A&q=%ED%A0%80", "?p=-1&from=x", "?p=99999999999999", "?live=1", "?error=%00&q=%27%22"])
def test_no_member_and_no_query_makes_a_page_answer_500(redis, client, operator, name, key, query):
    for number, raw in enumerate(HOSTILE.values()):
        redis.zadd(key, {raw: SCORES[number % len(SCORES)]})

    answer = client.get(reverse(f"admin:sidekick_{name}") + query)

    assert answer.status_code == 200
    assert b"<script>alert" not in answer.content
    assert b"<script>x" not in answer.content
    if not query:
        assert len(names_in(answer.content.decode())) == len(HOSTILE)


@pytest.mark.parametrize(("name", "key"), PAIRS)
def test_a_key_of_another_type_is_an_empty_page(redis, client, destroyer, name, key):
    redis.set(key, "no set")

    assert "sk-empty" in page(client, name)
    answer = client.post(reverse(f"admin:sidekick_{name}"), {"action": "delete", "_selected_action": ["1.0|" + "a" * 24], "post": "yes"})
    assert answer.status_code == 302
    assert redis.get(key) == b"no set"


@pytest.mark.parametrize(("name", "key"), PAIRS)
def test_who_may_only_see_gets_no_buttons(redis, client, viewer, name, key):
    redis.zadd(key, {job(1): 1})

    html = page(client, name)

    assert "data-action" not in html
    assert "_selected_action" not in html
    assert jids_in(html) == [1]


@pytest.mark.parametrize(("name", "key"), PAIRS)
def test_among_100_000_a_page_takes_two_round_trips_and_reads_a_thousand_members_at_most(redis, client, viewer, name, key):
    fill(redis, key, range(1, 100_001))
    page(client, name)  # the connection stands
    for query, read in (({}, [100]), ({"p": "400"}, [100]), ({"q": "hardjob"}, [100, 900]), ({"class": "None", "from": "90000"}, [100, 900])):
        asked = []
        with redis.monitor() as monitor:
            html = page(client, name, **query)
            redis.echo("over")
            for command in iter(monitor.next_command, None):
                if command["command"] == "ECHO over":
                    break
                asked.append(command["command"].split())

        ranges = [words for words in asked if words[0] == "ZRANGE"]
        assert "of 100,000 jobs" in html
        assert {words[0] for words in asked} <= {"SMEMBERS", "GET", "ZCARD", "ZRANGE", "LLEN", "HGET", "HELLO", "CLIENT"}
        assert [int(words[3]) - int(words[2]) + 1 for words in ranges] == read
        in_time(partial(page, client, name, **query), 2)  # about 0.05 s on a quiet machine


def test_of_very_long_members_a_filter_looks_at_fewer_and_says_so(redis, client, viewer):
    fill(redis, "dead", range(1, 401), args=["x" * 50_000])

    html = page(client, "dead", q="hardjob")

    (looked,) = re.findall(r"([0-9]+) match among the newest ([0-9]+) of 400 jobs", html)
    assert looked[0] == looked[1]
    assert 290 < int(looked[0]) <= 300
    assert f"from={looked[0]}" in html


def test_the_live_part_is_the_list(redis, client, viewer):
    redis.zadd("retry", {job(1): 1})

    news = client.get(reverse("admin:sidekick_retries"), {"live": "1"}).json()

    assert jids_in(news["parts"]["sk-set"]) == [1]
    assert news["numbers"]["retries"] == 1


@pytest.mark.parametrize(
    ("name", "rights", "pressed"),
    [("retries", ["operate_jobs"], RESCHEDULE), ("scheduled", ["operate_jobs"], RESCHEDULE), ("dead", ["operate_jobs", "destroy_jobs"], NOTHING), ("retries", ["destroy_jobs"], NOTHING), ("retries", [], NOTHING)],
)
def test_the_enter_key_presses_what_the_page_offers_or_nothing(redis, client, staff, name, rights, pressed):
    staff("view_jobrecord", *rights)
    fill(redis, SETS[name], range(1, 3))

    html = page(client, name)

    form = html[html.index('<form class="sk-list"') :]
    assert re.search(r'<button type="submit"[^>]*>', form)[0].startswith(f'<button type="submit" {pressed} ')


@pytest.mark.parametrize("name", SETS)
def test_a_name_with_spaces_around_it_is_filtered_by_as_its_link_has_it(redis, client, viewer, name):
    redis.zadd(SETS[name], {job(1, **{"class": " Soft "}): 1, job(2): 2})
    link = re.search(r'class="sk-class" href="([^"]*)"', page(client, name).partition(f"{1:024x}")[0].rpartition("<tr")[2])[1]

    found = client.get(reverse(f"admin:sidekick_{name}") + unescape(link)).content.decode()

    assert jids_in(found) == [1]
    assert jids_in(page(client, name, q="  soft ")) == [1]
