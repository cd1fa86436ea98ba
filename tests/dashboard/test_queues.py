from __future__ import annotations

import html
import itertools
import json
import re
import time

import pytest
import redis as redis_py
from django.contrib.admin.models import LogEntry
from django.urls import reverse

from django_sidekick.broker import queues
from django_sidekick.broker.console import Console, get_console
from django_sidekick.broker.keys import Keys
from django_sidekick.conf import get_settings
from django_sidekick.dashboard import queue
from django_sidekick.dashboard.emptying import emptying
from django_sidekick.dashboard.errand import Errand
from django_sidekick.dashboard.filters import Filter
from tests.conftest import RedisServer, wait_until
from tests.dashboard.live import beat, enqueue, job, round_trips

QUEUES = reverse("admin:sidekick_queues")
LOW = reverse("admin:sidekick_queue", args=["low"])


def words(answer):
    return " ".join(html.unescape(re.sub(r"<[^>]+>", " ", answer.content.decode())).split())


def names_of(answer):
    return re.findall(r'name="_selected_action" value="([^"]+)"', answer.content.decode())


def hidden_in(answer):
    """What a confirm page's form sends."""
    return dict(re.findall(r'type="hidden" name="(\w+)" value="([^"]*)"', answer.content.decode()))


def said(client, answer):
    return [str(message) for message in client.get(answer["Location"]).context["messages"]]


def test_a_queue_says_how_much_waits_how_long_and_who_reads_it(redis, client, viewer):
    enqueue(redis, job(ago_s=5626), job())
    beat(redis, threads=7)
    beat(redis, "other:1:f", threads=3)
    redis.sadd("paused", "low")

    shown = words(client.get(QUEUES))

    assert "low paused 2 1 h 33 min behind 2 processes, 10 threads" in shown


def test_a_queue_that_nobody_reads_is_said(redis, client, viewer):
    enqueue(redis, job())

    assert "no process reads it" in words(client.get(QUEUES))


def test_threads_are_those_of_the_capsules_that_read_a_queue(redis, client, viewer):
    capsules = {"a": {"concurrency": 2, "weights": {"low": 0}}, "b": {"concurrency": 4, "weights": {"high": 1, "low": 1}}}
    beat(redis, threads=6, capsules=capsules)
    console = get_console()
    redis.sadd("queues", "low", "high")

    listed = console.ask({"queues": queues.queues(console.keys)})["queues"].queues

    assert [(queue.name, queue.processes, queue.threads) for queue in listed] == [("high", 1, 4), ("low", 1, 6)]


def test_queues_are_filtered_by_a_part_of_their_name(redis, client, viewer):
    redis.sadd("queues", "mails", "exports")

    shown = words(client.get(QUEUES + "?q=MAIL"))

    assert "mails" in shown
    assert "exports" not in shown


@pytest.mark.parametrize("url", [QUEUES, LOW])
def test_a_queue_is_paused_and_resumed_and_the_log_says_by_whom(redis, client, operator, url):
    redis.sadd("queues", "low")

    paused = client.post(url, {"action": "pause", "_selected_action": "low"})
    assert redis.smembers("paused") == {b"low"}
    assert "1 queue is paused" in said(client, paused)[0]
    again = client.post(url, {"action": "pause", "_selected_action": "low"})
    assert "paused already" in said(client, again)[0]
    client.post(url, {"action": "resume", "_selected_action": "low"})
    assert redis.smembers("paused") == set()

    entries = LogEntry.objects.order_by("pk").values_list("change_message", "object_repr", "user")
    assert list(entries) == [("pause", "queue low", operator.pk), ("resume", "queue low", operator.pk)]


@pytest.mark.parametrize("history", ["finished", "off"])
@pytest.mark.parametrize("url", [QUEUES, LOW])
def test_a_queue_is_cleared_after_it_was_confirmed_with_the_number(redis, client, destroyer, sidekick_settings, url, history):
    """List and name are gone, as after Sidekiq's own Queue#clear."""
    sidekick_settings(HISTORY=history)
    enqueue(redis, *map(str, range(1234)))
    enqueue(redis, "x", queue="high")

    asked = client.post(url, {"action": "clear", "_selected_action": "low"})
    assert "These are 1,234 jobs." in words(asked)
    assert redis.llen("queue:low") == 1234
    done = client.post(url, hidden_in(asked))

    assert redis.keys("queue:*") == [b"queue:high"]
    assert redis.smembers("queues") == {b"high"}
    assert "1,234 jobs were deleted" in said(client, done)[0]
    assert LogEntry.objects.get().object_repr == "queue low: 1,234"


@pytest.mark.parametrize("act", ["pause", "resume", "clear", "delete"])
def test_who_may_only_look_is_refused_and_sees_no_button(redis, client, viewer, act):
    enqueue(redis, job())

    assert "data-action" not in client.get(QUEUES).content.decode() + client.get(LOW).content.decode()
    assert client.post(LOW, {"action": act, "post": "yes", "_selected_action": "low"}).status_code == 403
    assert redis.llen("queue:low") == 1
    assert not redis.exists("paused")


@pytest.mark.parametrize("act", ["clear", "delete"])
def test_an_operator_destroys_nothing(redis, client, operator, act):
    enqueue(redis, job())

    page = client.get(LOW).content.decode()
    assert 'data-action="pause"' in page
    assert f'data-action="{act}"' not in page
    assert client.post(LOW, {"action": act, "post": "yes"}).status_code == 403
    assert redis.llen("queue:low") == 1


def test_the_next_job_to_run_stands_first_and_pages_have_100_rows(redis, client, viewer):
    enqueue(redis, *(job(jid=f"{number:024}", args=[number]) for number in range(250)))

    first, last, beyond = client.get(LOW), client.get(LOW + "?p=3"), client.get(LOW + "?p=999")

    assert [row.job.args[0] for row in first.context["rows"]] == list(range(100))
    assert [row.job.args[0] for row in last.context["rows"]] == list(range(200, 250))
    assert [row.position for row in beyond.context["rows"]] == list(range(201, 251))
    assert "Jobs 201 to 250 of 250, the next to run first" in words(last)
    assert reverse("admin:sidekick_job", args=["0" * 24]) in first.content.decode()


def test_a_row_shows_class_arguments_tags_jid_and_age(redis, client, viewer):
    enqueue(redis, job(args=[1, {"a": None}], kwargs={"force": True}, tags=["vip"], ago_s=240))

    assert f"1 HardJob vip {'j' * 24} 1, {{'a': None}}, force=True 4 minutes ago" in words(client.get(LOW))


def test_a_filter_looks_at_the_next_1000_and_says_so(redis, client, viewer):
    enqueue(redis, *(job(args=[f"order-{number}"]) for number in range(1500)))

    near, far = client.get(LOW + "?q=ORDER-7"), client.get(LOW + "?q=order-1400")

    assert [row.position for row in near.context["rows"]][:3] == [8, 71, 72]
    assert "111 jobs match among the next 1,000 to run, of 1,500" in words(near)
    assert "0 jobs match among the next 1,000" in words(far)


@pytest.mark.parametrize("query", ["", "?q=HardJob"])
def test_a_page_of_100000_jobs_costs_two_round_trips_and_at_most_1000_jobs(redis, client, viewer, query):
    redis.sadd("queues", "low")
    for _ in range(100):
        redis.lpush("queue:low", *[job()] * 1000)
    client.get(LOW)

    asked = []
    console = get_console()
    send = console._send
    console._send = lambda commands: asked.append(commands) or send(commands)
    try:
        seen, _ = round_trips(redis, lambda: client.get(LOW + query))
    finally:
        console._send = send

    assert len(asked) == 2
    assert seen["lrange"] == (2 if query else 1)


def test_of_very_long_jobs_a_filter_reads_fewer(redis, client, viewer):
    enqueue(redis, *(job(args=["x" * 100_000]) for _ in range(300)))

    assert "199 jobs match among the next 199 to run, of 300" in words(client.get(LOW + "?q=xxx"))


def test_selected_jobs_are_deleted_after_confirming_although_others_have_gone(redis, client, destroyer):
    enqueue(redis, *(job(jid=f"{number:024}") for number in range(150)))
    chosen = names_of(client.get(LOW + "?p=2"))[:3]
    for _ in range(101):
        redis.rpop("queue:low")  # workers have taken the first of them

    form = {"action": "delete", "_selected_action": chosen}
    assert "These are 3 jobs" in words(client.post(LOW, form))
    assert redis.llen("queue:low") == 49
    done = client.post(LOW, {**form, "post": "yes"})

    left = [json.loads(raw)["jid"] for raw in redis.lrange("queue:low", 0, -1)]
    assert left == [f"{number:024}" for number in reversed(range(103, 150))]
    assert said(client, done) == ["2 jobs were deleted.", "1 job was not there any more."]
    assert LogEntry.objects.get().object_repr == "queue low: 2"


def test_a_job_is_deleted_once(redis, client, destroyer):
    enqueue(redis, job(), job(jid="k" * 24))
    form = {"action": "delete", "_selected_action": names_of(client.get(LOW))[0], "post": "yes"}

    client.post(LOW, form)
    again = client.post(LOW, form)

    assert redis.llen("queue:low") == 1
    assert said(client, again)[-1] == "1 job was not there any more."
    assert LogEntry.objects.get().object_id == "j" * 24


def test_all_that_match_are_deleted_and_nothing_else(redis, client, destroyer):
    enqueue(redis, *(job(job_class=name, jid=f"{number:024}") for number, name in enumerate(["A", "B"] * 150)))
    url = LOW + "?class=A"

    asked = client.post(url, {"action": "delete", "select_across": "1"})
    assert "These are 150 jobs" in words(asked)
    assert "all 150 jobs that match" in words(client.get(url))
    client.post(url, {"action": "delete", "select_across": "1", "post": "yes"})

    assert {json.loads(raw)["class"] for raw in redis.lrange("queue:low", 0, -1)} == {"B"}
    assert redis.llen("queue:low") == 150


def test_all_that_match_are_those_that_the_question_was_about(redis, client, destroyer):
    """Workers have taken some of them; what has come into sight since, and is of the same class, was never shown."""
    enqueue(redis, *(job(job_class=name, jid=f"{number:024}") for number, name in enumerate(["A", "B"] * 600)))
    url = LOW + "?class=A"

    asked = client.post(url, {"action": "delete", "select_across": "1"})
    assert "These are 500 jobs" in words(asked)
    for _ in range(200):
        redis.rpop("queue:low")
    enqueue(redis, job(job_class="A", jid="new"))
    done = client.post(url, hidden_in(asked))

    left = [json.loads(raw)["jid"] for raw in redis.lrange("queue:low", 0, -1) if json.loads(raw)["class"] == "A"]
    assert left == ["new", *(f"{number:024}" for number in range(1198, 998, -2))]
    assert said(client, done) == ["400 jobs were deleted.", "100 jobs were not there any more."]
    assert LogEntry.objects.get().object_repr == "queue low: 400"


@pytest.mark.parametrize("history", ["finished", "off"])
@pytest.mark.parametrize(("url", "form"), [(QUEUES, {"action": "clear", "_selected_action": "low"}), (LOW, {"action": "clear"}), (LOW, {"action": "delete", "select_across": "1"})])
def test_a_clear_takes_what_waited_when_it_was_asked(redis, client, destroyer, sidekick_settings, history, url, form):
    sidekick_settings(HISTORY=history)
    enqueue(redis, *(job(jid=f"{number:024}", ago_s=5) for number in range(300)))

    asked = client.post(url, form)
    asked_s = time.time()
    assert "Clear (300)" in words(asked)
    for _ in range(120):
        redis.rpop("queue:low")
    wait_until(lambda: time.time() > asked_s + 0.002, "another millisecond")
    enqueue(redis, *(job(jid=f"new{number}") for number in range(150)))
    done = client.post(url, hidden_in(asked))

    left = [json.loads(raw)["jid"] for raw in redis.lrange("queue:low", 0, -1)]
    assert left == [f"new{number}" for number in reversed(range(150))]
    assert redis.smembers("queues") == {b"low"}
    assert said(client, done) == ["Queue low: 180 jobs were deleted.", "120 jobs were not there any more."]
    entry = LogEntry.objects.get()
    assert (entry.change_message, entry.object_repr) == ("clear", "queue low: 180")


def test_of_jobs_that_do_not_say_when_they_came_no_more_are_cleared_than_there_were(redis, client, destroyer):
    enqueue(redis, *map(str, range(20)))

    asked = client.post(LOW, {"action": "clear"})
    enqueue(redis, *(f"new{number}" for number in range(20)))
    client.post(LOW, hidden_in(asked))

    assert redis.lrange("queue:low", 0, -1) == [b"new%d" % number for number in reversed(range(20))]


def test_what_was_asked_on_one_queue_is_not_done_on_another(redis, client, destroyer):
    enqueue(redis, job())
    enqueue(redis, job(), queue="high")
    high = reverse("admin:sidekick_queue", args=["high"])

    for form in ({"action": "clear"}, {"action": "delete", "_selected_action": names_of(client.get(LOW))}):
        done = client.post(high, hidden_in(client.post(LOW, form)))
        assert "ask again" in said(client, done)[0]

    assert (redis.llen("queue:low"), redis.llen("queue:high")) == (1, 1)


def test_when_redis_goes_away_half_way_the_log_says_how_far_it_came(client, destroyer, sidekick_settings, monkeypatch):
    server, real = RedisServer(), queue.mover

    def cut_off(*args):
        mover = real(*args)
        portions = mover.portions

        def one(*args):
            yield next(portions(*args))
            server.stop()
            mover._run("move", ["a"] * 5, [])

        mover.portions = one
        return mover

    try:
        sidekick_settings(REDIS=server.url)
        with redis_py.Redis.from_url(server.url) as own:
            enqueue(own, *(job(jid=f"{number:024}") for number in range(250)))
            asked = client.post(LOW + "?class=HardJob", {"action": "delete", "select_across": "1"})
            monkeypatch.setattr(queue, "mover", cut_off)
            done = client.post(LOW + "?class=HardJob", hidden_in(asked))
        assert "is away" in said(client, done)[0]
        assert LogEntry.objects.get().object_repr == "queue low: 100"
    finally:
        server.close()


def test_a_long_queue_is_cleared_beside_workers_that_take_from_it_and_they_do_not_wait(redis):
    calls = itertools.count()

    class Beside(Console):
        def run(self, name, keys, words):
            if name == "move" and next(calls) % 2 == 0:  # and not while it asks again for those that are left
                redis.rpop("queue:low", 60)
            return super().run(name, keys, words)

    enqueue(redis, *(f"a job of {number}" for number in range(100_000)))
    errand = Errand("queue:low", "clear", "1", Filter(), time.time(), 0.0, 500)
    redis.config_resetstat()

    *_, last = emptying(Beside(get_settings()), "low", errand)

    assert last.done == 500
    assert redis.info("commandstats")["cmdstat_lpos"]["usec"] < 100_000


def test_beside_a_filter_nobody_clears_what_is_not_shown(redis, client, destroyer):
    enqueue(redis, job())

    assert 'data-action="clear"' in client.get(LOW).content.decode()
    assert 'data-action="clear"' not in client.get(LOW + "?q=Hard").content.decode()


def test_a_job_is_found_again_wherever_it_was_given_back(redis):
    enqueue(redis, *map(str, range(2500)))
    console, keys = get_console(), Keys()
    names = [queues.text_name(2101, b"2100"), queues.text_name(1, b"0"), "1|junk", "x", ""]
    redis.rpush("queue:low", *[b"back"] * 900)

    assert console.ask({"texts": queues.named(keys, "low", names)})["texts"] == [b"0", b"2100"]


@pytest.mark.parametrize("name", [b"\xff", b"a/b\n", "ü".encode(), b""])
def test_jobs_of_a_queue_of_any_name_are_deleted(redis, client, destroyer, name):
    redis.sadd("queues", name)
    redis.lpush(b"queue:" + name, job(), "x")
    url = reverse("admin:sidekick_queue", args=[name.decode(errors="surrogateescape")])

    done = client.post(url, {"action": "delete", "_selected_action": names_of(client.get(url))[:1], "post": "yes"})

    assert said(client, done) == ["1 job was deleted."]
    assert redis.lrange(b"queue:" + name, 0, -1) == [b"x"]


@pytest.mark.parametrize("posted", [{}, {"select_across": "1"}])
def test_of_two_jobs_with_one_text_those_that_are_ticked_are_deleted(redis, client, destroyer, posted):
    twice = job()
    enqueue(redis, twice, job(jid="other", job_class="Other"), twice, twice)
    names = names_of(client.get(LOW))
    assert len(names) == 4
    ticked = [name for name in names if name.partition("|")[2] == names[0].partition("|")[2]]
    form = posted or {"_selected_action": ticked[:2]}
    url = LOW + ("?class=HardJob" if posted else "")

    answer = client.post(url, {"action": "delete", **form})
    assert answer.context["count"] == (3 if posted else 2)
    answer = client.post(url, {**hidden_in(answer), "action": "delete"})

    assert redis.llen("queue:low") == (1 if posted else 2)
    assert said(client, answer) == [f"{3 if posted else 2} jobs were deleted."]
