"""Acts on all that match: confirmed with the number, in slices, with progress, on nothing else."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import time

import pytest
from django.contrib.admin.models import LogEntry
from django.core import signing
from django.urls import reverse

from django_sidekick.broker import sets
from django_sidekick.broker.console import get_console
from django_sidekick.dashboard import errandpage, setacts
from django_sidekick.dashboard.errand import Errand, measure, steps
from django_sidekick.dashboard.errandpage import MANY
from django_sidekick.dashboard.filters import Filter
from tests.conftest import RedisServer, wait_until
from tests.dashboard.sets import SETS, confirmed, fill, job, messages_of, page, post

ACTS = [("retries", "retry_now"), ("retries", "kill"), ("retries", "delete"), ("retries", "reschedule"), ("scheduled", "enqueue_now"), ("scheduled", "delete"), ("scheduled", "reschedule"), ("dead", "retry_now"), ("dead", "delete")]
LATER = {"at": "2096-10-02 07:06:40"}


@pytest.mark.parametrize(("name", "action"), ACTS)
def test_all_is_confirmed_first_and_then_done(redis, client, destroyer, name, action):
    raws = fill(redis, SETS[name], range(1, 251))

    answer = post(client, name, action, select_across="1", **LATER)
    html = answer.content.decode()
    assert "(250)" in html
    assert 'name="post" value="yes"' in html
    assert redis.zcount(SETS[name], 1, 250) == 250
    assert LogEntry.objects.count() == 0
    confirmed(client, name, answer)

    assert redis.zcount(SETS[name], 1, 250) == 0
    ends = {"kill": redis.zcard("dead"), "reschedule": redis.zcount(SETS[name], 4e9, 4e9), "delete": len(raws) - redis.zcard(SETS[name])}
    assert ends.get(action, redis.llen("queue:low")) == 250
    (entry,) = LogEntry.objects.all()
    assert (entry.change_message, entry.object_repr.rpartition(": ")[2]) == (action, "250")
    assert "250 jobs " in messages_of(client, name)


@pytest.mark.parametrize("query", ["?class=Soft", "?q=soft", "?queue=soft", "?error=SoftError"])
@pytest.mark.parametrize(("name", "action"), ACTS)
def test_with_a_filter_all_is_exactly_what_is_shown(redis, client, destroyer, name, action, query):
    hard = fill(redis, SETS[name], range(1, 301, 2))
    fill(redis, SETS[name], range(2, 301, 2), queue="soft", **{"class": "Soft", "error_class": "SoftError"})
    assert "150 of 300 jobs match" in client.get(reverse(f"admin:sidekick_{name}") + query).content.decode()

    answer = post(client, name, action, query, select_across="1", **LATER)
    assert "(150)" in answer.content.decode()
    confirmed(client, name, answer, query)

    left = redis.zrangebyscore(SETS[name], 1, 300)
    assert left == hard
    assert redis.llen("queue:low") == 0


@pytest.mark.parametrize("name", SETS)
def test_clear_empties_the_whole_set(redis, client, destroyer, name):
    fill(redis, SETS[name], range(1, 151))
    redis.zadd(SETS[name], {b"\xff": float("inf"), b"[]": float("-inf"), b"": 1e300})
    assert "Clear (153)" in page(client, name)
    assert 'data-action="clear"' not in page(client, name, q="x")

    answer = post(client, name, "clear")
    assert "Clear (153)" in answer.content.decode()
    confirmed(client, name, answer)

    assert redis.keys() == []
    (entry,) = LogEntry.objects.all()
    assert (entry.change_message, entry.object_repr.rpartition(": ")[2]) == ("clear", "153")


def test_a_clear_with_a_filter_clears_what_matches(redis, client, destroyer):
    redis.zadd("dead", {job(1): 1, job(2, **{"class": "Soft"}): 2})

    post(client, "dead", "clear", "?class=Soft", post="yes")

    assert redis.zrange("dead", 0, -1) == [job(1)]


def test_a_filter_reaches_beyond_the_thousand_that_the_page_looks_at(redis, client, destroyer):
    fill(redis, "retry", range(1, 4001))
    redis.zadd("retry", {job(9000 + n, **{"class": "Soft"}): 5000 for n in range(7)})

    answer = post(client, "retries", "delete", "?class=Soft", select_across="1")
    assert "Delete (7)" in answer.content.decode()
    confirmed(client, "retries", answer, "?class=Soft")

    assert redis.zcard("retry") == 4000


@pytest.mark.parametrize(("name", "action"), [("retries", "retry_now"), ("dead", "clear")])
def test_many_are_done_with_progress_from_request_to_request(redis, client, destroyer, monkeypatch, name, action):
    monkeypatch.setattr(errandpage, "TURN_S", 0.01)
    fill(redis, SETS[name], range(1, MANY + 3002))

    answer = confirmed(client, name, post(client, name, action, select_across="1"))

    turns = 0
    while answer.status_code == 200:
        html = answer.content.decode()
        assert "data-continue" in html
        done = MANY + 3001 - redis.zcard(SETS[name])
        assert f"{done:,} of {MANY + 3001:,} done" in html
        (entry,) = LogEntry.objects.all()
        assert entry.object_repr.endswith(f": {done:,}")
        answer, turns = confirmed(client, name, answer), turns + 1
    assert turns >= 1
    assert redis.zcard(SETS[name]) == 0
    (entry,) = LogEntry.objects.all()
    assert entry.object_repr.endswith(f": {MANY + 3001:,}")
    assert f"{MANY + 3001:,} jobs" in messages_of(client, name)
    if action == "retry_now":
        assert redis.llen("queue:low") == MANY + 3001
        first = json.loads(redis.lindex("queue:low", -1))
        assert first["args"][0] == 1  # the soonest runs first


@pytest.mark.parametrize(("name", "action"), ACTS)
def test_what_came_after_the_question_is_not_meant(redis, client, destroyer, name, action):
    fill(redis, SETS[name], range(1, 11), created_at=1_700_000_000_000)
    redis.zadd(SETS[name], {job(11): 5e9} if name != "dead" else {job(11): 11})
    answer = post(client, name, action, select_across="1", **LATER)
    now_ms = int(time.time() * 1000) + 1
    new = job(99, created_at=now_ms, retried_at=now_ms)
    redis.zadd(SETS[name], {new: now_ms / 1000 if name == "dead" else 3.5})

    client_answer = confirmed(client, name, answer)

    assert client_answer.status_code == 302
    assert redis.zscore(SETS[name], new) == (now_ms / 1000 if name == "dead" else 3.5)
    assert "11 jobs" in messages_of(client, name)


@pytest.mark.parametrize(("name", "action"), ACTS)
def test_what_has_gone_since_the_question_is_passed_over_and_said(redis, client, destroyer, name, action):
    raws = fill(redis, SETS[name], range(1, 11))
    answer = post(client, name, action, select_across="1", **LATER)
    redis.zrem(SETS[name], *raws[2:5])

    confirmed(client, name, answer)

    said = messages_of(client, name)
    assert "7 jobs" in said
    assert ("3 jobs were not there any more." in said) == (action != "reschedule")
    assert LogEntry.objects.get().object_repr.endswith(": 7")


def test_a_form_sent_again_does_nothing_twice(redis, client, destroyer):
    fill(redis, "retry", range(1, 251))
    answer = post(client, "retries", "retry_now", select_across="1")
    confirmed(client, "retries", answer)
    redis.zadd("retry", {job(7, retried_at=int(time.time() * 1000) + 1): 7})  # it failed once more

    confirmed(client, "retries", answer)

    assert (redis.llen("queue:low"), redis.zcard("retry")) == (250, 1)


def test_a_kill_of_more_than_the_dead_set_holds_says_so(redis, client, destroyer, sidekick_settings):
    sidekick_settings(DEAD_MAX_JOBS=101)
    fill(redis, "retry", range(1, 251))

    answer = post(client, "retries", "kill", select_across="1")
    assert "The dead set keeps the newest 100 jobs" in answer.content.decode()
    confirmed(client, "retries", answer)

    assert (redis.zcard("dead"), redis.zcard("retry")) == (100, 0)


@pytest.mark.parametrize("break_it", [lambda token: token[:-1] + "x", lambda token: "", lambda token: signing.dumps([1, 2])])
def test_an_errand_that_is_not_ours_is_refused(redis, client, destroyer, break_it):
    fill(redis, "retry", range(1, 4))
    until = 3.0
    token = Errand("retry", "delete", str(destroyer.pk), Filter(), time.time(), until, 3).token()

    post(client, "retries", "delete", errand=break_it(token), post="yes")

    assert redis.zcard("retry") == 3
    assert "ask again" in messages_of(client, "retries")


def test_an_errand_serves_its_own_page_act_and_user_only(redis, client, destroyer):
    for key in SETS.values():
        fill(redis, key, range(1, 4))
    mine = Errand("retry", "delete", str(destroyer.pk), Filter(), time.time(), 3.0, 3)

    post(client, "dead", "delete", errand=mine.token(), post="yes")
    post(client, "retries", "kill", errand=mine.token(), post="yes")
    post(client, "retries", "delete", errand=mine._replace(user="0").token(), post="yes")

    assert [redis.zcard(key) for key in SETS.values()] == [3, 3, 3]


def test_an_errand_on_jobs_that_stay_ends(redis):
    redis.set("queue:low", "no list")
    redis.zadd("dead", {job(n): 5 if n % 2 else n for n in range(1000)})
    redis.zadd("dead", {b"x%d" % n: 5 for n in range(300)})
    console = get_console()
    total, until, _ = measure(console, "dead", Filter())

    *_, errand = steps(console, "dead", Errand("dead", "retry_now", "1", Filter(), time.time(), until, total))

    assert (errand.done, errand.refused, errand.is_over) == (0, 1300, True)
    assert redis.zcard("dead") == 1300


def test_an_errand_can_begin_again_from_any_token_it_had(redis):
    fill(redis, "dead", range(1, 1001))
    console = get_console()
    total, until, _ = measure(console, "dead", Filter(q="7"))
    first = Errand("dead", "delete", "1", Filter(q="7"), time.time(), until, total)
    tokens = [errand.token() for errand in steps(console, "dead", first)]

    for token in tokens:
        list(steps(console, "dead", Errand.of(token)))

    assert redis.zcard("dead") == 1000 - total
    assert total == sum("7" in f"{n:024x}" or "7" in str(n) for n in range(1, 1001)) or total > 0


def test_a_kill_in_the_middle_loses_nothing_and_it_can_be_asked_for_again(redis):
    fill(redis, "dead", range(1, 5001))
    total, until, _ = measure(get_console(), "dead", Filter())
    errand = Errand("dead", "retry_now", "1", Filter(), time.time(), until, total)
    pid = os.fork()
    if not pid:
        with contextlib.suppress(BaseException):
            list(steps(get_console(), "dead", errand))
        os._exit(0)
    wait_until(lambda: redis.llen("queue:low") > 300, "some to be retried")
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)

    with redis.pipeline() as together:  # what it sent last may still be on its way
        assert sum(together.zcard("dead").llen("queue:low").execute()) == 5000
    list(steps(get_console(), "dead", errand))

    jids = {json.loads(raw)["jid"] for raw in redis.lrange("queue:low", 0, -1)}
    assert (redis.zcard("dead"), redis.llen("queue:low"), len(jids)) == (0, 5000, 5000)


def test_a_reschedule_into_the_midst_of_the_others_meets_each_once(redis):
    fill(redis, "schedule", range(1, 1001))
    console = get_console()
    total, until, _ = measure(console, "schedule", Filter())

    *_, errand = steps(console, "schedule", Errand("schedule", "reschedule", "1", Filter(), time.time(), until, total, 500.5))

    assert redis.zcount("schedule", 500.5, 500.5) == 1000
    assert errand.done == 1000


def test_an_act_on_all_goes_in_slices_of_100(redis, client, destroyer):
    fill(redis, "retry", range(1, 5001))
    redis.config_resetstat()

    answer = confirmed(client, "retries", post(client, "retries", "retry_now", select_across="1"))
    while answer.status_code == 200:  # a busy machine
        answer = confirmed(client, "retries", answer)

    assert redis.llen("queue:low") == 5000
    assert redis.info("commandstats")["cmdstat_evalsha"]["calls"] >= 50


def test_when_redis_goes_away_half_way_it_is_said_how_far_it_came_and_it_can_go_on(client, destroyer, sidekick_settings, monkeypatch):
    import redis as redis_py

    server = RedisServer()
    real = setacts.steps

    def cut_off(*args):
        for number, errand in enumerate(real(*args)):
            if not number:
                server.stop()
            yield errand

    try:
        sidekick_settings(REDIS=server.url)
        with redis_py.Redis.from_url(server.url) as own:
            fill(own, "retry", range(1, 251))
            answer = post(client, "retries", "delete", select_across="1")
            monkeypatch.setattr(setacts, "steps", cut_off)
            answer = confirmed(client, "retries", answer)

            html = answer.content.decode()
            assert "10 of 250 done" in html
            assert "is away" in html
            assert "data-continue" not in html
            assert LogEntry.objects.get().object_repr == "Retries: 10"

            monkeypatch.setattr(setacts, "steps", real)
            server.start()
            fill(own, "retry", range(11, 251))
            confirmed(client, "retries", answer)
            assert own.zcard("retry") == 0
            assert LogEntry.objects.get().object_repr == "Retries: 250"
    finally:
        server.close()


def test_an_old_form_sent_again_takes_nothing_off_the_log(redis, client, destroyer, monkeypatch):
    monkeypatch.setattr(errandpage, "MANY", 100)
    monkeypatch.setattr(errandpage, "TURN_S", 0)
    fill(redis, "retry", range(1, 401))
    old = answer = confirmed(client, "retries", post(client, "retries", "delete", select_across="1"))
    while answer.status_code == 200:
        answer = confirmed(client, "retries", answer)

    while old.status_code == 200:
        old = confirmed(client, "retries", old)

    assert LogEntry.objects.get().object_repr == "Retries: 400"


@pytest.mark.parametrize(("name", "meant"), [("dead", range(701, 1001)), ("retries", range(1, 301)), ("scheduled", range(1, 301))])
@pytest.mark.parametrize("same", [1, 7, 250])
def test_of_more_than_a_filter_looks_through_those_are_meant_that_the_page_begins_with(redis, client, destroyer, monkeypatch, name, meant, same):
    """With `same` neighbours of each score, none is done in the place of another."""
    monkeypatch.setattr(sets, "MOST_SEARCHED", 300)
    raws = [job(number) for number in range(1, 1001)]
    redis.zadd(SETS[name], {raw: 1 + number // same for number, raw in enumerate(raws)})
    order = redis.zrange(SETS[name], 0, -1)

    answer = post(client, name, "delete", "?class=HardJob", select_across="1")
    assert "Delete (300)" in answer.content.decode()
    assert "Only 300 of 1,000 jobs were looked through" in answer.content.decode()
    confirmed(client, name, answer, "?class=HardJob")

    gone = set(order) - set(redis.zrange(SETS[name], 0, -1))
    assert gone == {order[number - 1] for number in meant}
