from __future__ import annotations

import json
import re
import time
from html import unescape

import pytest
import redis as redis_py
from django.contrib.admin.models import DELETION, LogEntry

from django_sidekick.dashboard import errandpage, jobacts, recordacts
from django_sidekick.dashboard.errand import Errand
from django_sidekick.models import JobRecord
from tests.conftest import RedisServer, free_port, wait_until
from tests.dashboard.records import many, record
from tests.dashboard.sets import confirmed

pytestmark = pytest.mark.django_db(databases="__all__")
LIST = "/admin/django_sidekick/jobrecord/"
NAME = "tests.app.jobs.NoopJob"


def job(jid, **fields):
    return json.dumps({"class": NAME, "args": [1], "queue": "low", "jid": jid, "retry": True, "retry_count": 1, **fields})


def ask(client, action, *jids, query="", **fields):
    """Return the page that asks."""
    answer = client.post(LIST + query, {"action": action, "index": "0", "_selected_action": list(jids), **fields})
    assert answer.status_code == 200
    return answer


def act(client, action, *jids, query="", **fields):
    posted = {"action": action, "index": "0", "_selected_action": list(jids), "select_across": "0", **fields}
    answer = client.post(LIST + query, posted, follow=True)
    assert answer.status_code == 200
    return unescape(answer.content.decode())


@pytest.fixture
def three(redis, history):
    """Rows a, b and c; a waits for its retry, b is dead, c is done."""
    for jid, state in (("a", "retry"), ("b", "dead"), ("c", "processed")):
        record(jid, database=history, state=state, job_class=NAME)
    redis.zadd("retry", {job("a"): 9})
    redis.zadd("dead", {job("b"): time.time()})
    return JobRecord.objects.using(history)


def test_retry_now_takes_the_selected_ones_that_wait_or_are_dead(three, redis, client, operator):
    text = act(client, "retry_now", "a", "b", "c")

    assert "2 jobs were put on their queues." in text
    assert "1 job is not where this can be done to it" in text
    assert {json.loads(raw)["jid"] for raw in redis.lrange("queue:low", 0, -1)} == {"a", "b"}
    entry = LogEntry.objects.get()
    assert (entry.change_message, entry.object_repr) == ("retry_now", "2: a, b")


def test_run_again_makes_a_new_job_of_each(three, redis, client, operator):
    record("d", database=three.db, job_class=NAME, args=None)

    text = act(client, "run_again", "a", "c", "d")

    assert "2 jobs run again." in text
    assert "1 job cannot run again" in text
    pushed = [json.loads(raw) for raw in redis.lrange("queue:low", 0, -1)]
    assert [(entry["class"], entry["args"]) for entry in pushed] == [(NAME, [1])] * 2
    assert not {"a", "c"} & {entry["jid"] for entry in pushed}


def test_what_a_client_middleware_refuses_is_neither_counted_nor_logged(redis, history, client, operator, sidekick_settings):
    sidekick_settings(HISTORY_DATABASE=history, CLIENT_MIDDLEWARE=["tests.dashboard.test_job.refusing_layer"])
    for jid, args in (("a", [1]), ("b", [2])):
        record(jid, database=history, job_class=NAME, args=args)

    text = act(client, "run_again", "a", "b")

    assert "1 job runs again." in text
    assert "1 job does not run again: a client middleware has refused it." in text
    assert [json.loads(raw)["args"] for raw in redis.lrange("queue:low", 0, -1)] == [[2]]
    assert LogEntry.objects.get().object_id == "b"


@pytest.mark.parametrize(("action", "moved"), [("kill", {"a"}), ("delete", {"a", "b"})])
def test_what_destroys_is_asked_first_with_the_number(three, redis, client, destroyer, action, moved):
    asked = act(client, action, "a", "b")

    assert "These are 2 jobs. Are you sure?" in asked and "(2)" in asked
    assert (redis.zcard("retry"), redis.zcard("dead")) == (1, 1)

    act(client, action, "a", "b", post="yes")

    assert redis.zcard("retry") == 0
    assert redis.zcard("dead") == (2 if action == "kill" else 0)
    assert LogEntry.objects.get().action_flag == DELETION
    discarded = set(three.filter(state="discarded").values_list("jid", flat=True))
    assert discarded == (moved if action == "delete" else set())


def test_all_that_match_are_asked_first_and_are_what_the_filter_shows(three, redis, client, operator):
    assert "This is one job. Are you sure?" in act(client, "retry_now", "a", query="?state=dead", select_across="1")

    act(client, "retry_now", "a", query="?state=dead", select_across="1", post="yes")

    assert [json.loads(raw)["jid"] for raw in redis.lrange("queue:low", 0, -1)] == ["b"]
    assert redis.zcard("retry") == 1


@pytest.mark.parametrize(("action", "bound"), [("retry_now", "MOST"), ("run_again", "MOST_AT_ONCE")])
def test_too_many_are_refused_and_nothing_is_done(three, redis, client, operator, monkeypatch, action, bound):
    monkeypatch.setattr(recordacts, bound, 2)

    text = act(client, action, "a", select_across="1", post="yes")

    assert "These are more than 2 jobs" in text
    assert redis.llen("queue:low") == 0


def test_all_that_match_are_those_that_the_question_was_about(three, redis, client, operator):
    """One of them has gone since, one has come into the list, one is in another place than it was."""
    for jid in "de":
        record(jid, database=three.db, state="dead", job_class=NAME)
        redis.zadd("dead", {job(jid): 5})
    query = "?state=dead"

    asked = ask(client, "retry_now", "b", query=query, select_across="1")
    assert "These are 3 jobs. Are you sure?" in asked.content.decode()
    redis.zrem("dead", job("d"), job("e"))
    record("f", database=three.db, state="dead", job_class=NAME)
    asked_ms = int(time.time() * 1000)
    wait_until(lambda: time.time() * 1000 > asked_ms + 3, "some milliseconds")
    redis.zadd("dead", {job("f"): 5})
    redis.zadd("retry", {job("e", retried_at=asked_ms + 2): 6})
    text = unescape(client.get(confirmed(client, LIST, asked, query)["Location"]).content.decode())

    assert [json.loads(raw)["jid"] for raw in redis.lrange("queue:low", 0, -1)] == ["b"]
    assert redis.zrange("dead", 0, -1) == [job("f").encode()]
    assert redis.zcard("retry") == 2
    assert "1 job was put on its queue." in text
    assert "2 jobs are not where this can be done to them" in text
    assert LogEntry.objects.get().object_id == "b"


@pytest.mark.parametrize(("action", "right"), [("retry_now", "1 job was put on its queue."), ("delete", "This is one job.")])
def test_what_was_ticked_and_has_left_the_list_is_said(three, client, destroyer, action, right):
    text = act(client, action, "a", "b", "c", query="?state=dead")

    assert right in text
    assert "2 selected jobs have changed and are not in this list any more: they are left alone." in text


@pytest.mark.parametrize("action", ["kill", "delete"])
def test_what_was_ticked_is_what_is_destroyed_whatever_the_filter_finds_by_then(three, redis, client, destroyer, action):
    asked = ask(client, action, "a", query="?state=retry")
    three.filter(jid="a").update(state="failed")
    record("d", database=three.db, state="retry", job_class=NAME)
    redis.zadd("retry", {job("d"): 7})

    confirmed(client, LIST, asked, "?state=retry")

    assert redis.zrange("retry", 0, -1) == [job("d").encode()]
    assert LogEntry.objects.get().object_id == "a"


def test_more_than_a_thousand_are_done_in_slices_with_progress(redis, history, client, destroyer, monkeypatch):
    monkeypatch.setattr(errandpage, "LONGEST_TURN_S", 0.0)
    many(1100, database=history, state="retry")
    record("e" * 24, database=history, state="dead")
    for number in range(1100):
        redis.zadd("retry", {job(f"{number:024x}"): 9 + number})

    answer, seen = ask(client, "kill", "x", query="?state=retry", select_across="1"), []
    assert "(1,100)" in answer.content.decode()
    answer = confirmed(client, LIST, answer, "?state=retry")
    while answer.status_code == 200:
        html = answer.content.decode()
        assert "data-continue" in html
        seen += re.findall(r"([\d,]+) of 1,100 done", html)
        assert LogEntry.objects.get().object_repr == f"Jobs: {seen[-1]}"
        answer = confirmed(client, LIST, answer, "?state=retry")

    assert seen == ["1,000"]
    assert (redis.zcard("retry"), redis.zcard("dead")) == (0, 1100)
    assert "1,100 jobs were moved to the dead set." in client.get(answer["Location"]).content.decode()
    assert LogEntry.objects.get().object_repr == "Jobs: 1,100"


def test_a_question_is_answered_by_whom_it_was_asked_on_its_own_page(three, redis, client, destroyer):
    mine = Errand.on("records", "delete", str(destroyer.pk), ["a", "b"])

    for action, token in (("kill", mine.token()), ("delete", mine._replace(user="0").token()), ("delete", mine._replace(kept="queue:low").token()), ("delete", "x")):
        assert "ask again" in act(client, action, "a", errand=token, post="yes")

    assert (redis.zcard("retry"), redis.zcard("dead")) == (1, 1)


def test_a_job_whose_queue_is_no_list_stays_and_the_others_are_done(three, redis, client, operator):
    redis.set("queue:odd", "no list")
    record("0", database=three.db, state="retry", job_class=NAME)
    record("z", database=three.db, state="retry", job_class=NAME)
    redis.zadd("retry", {job("0", queue="odd"): 1, job("z"): 2})

    text = act(client, "retry_now", "a", "0", "z", "b")

    assert "3 jobs were put on their queues." in text
    assert "1 job stays" in text
    assert {json.loads(raw)["jid"] for raw in redis.lrange("queue:low", 0, -1)} == {"a", "b", "z"}
    assert redis.zrange("retry", 0, -1) == [job("0", queue="odd").encode()]
    assert LogEntry.objects.get().object_repr.startswith("3: ")


@pytest.mark.parametrize(("most", "logged"), [(1000, "a"), (1, "Jobs: 1")])
def test_when_redis_goes_away_half_way_the_log_and_the_page_say_how_far_it_came(history, client, operator, sidekick_settings, monkeypatch, most, logged):
    server, real = RedisServer(), jobacts.inspector_for

    def cut_off(*args):
        inspector = real(*args)
        retry = inspector.retry
        inspector.retry = lambda place: retry(place) and (server.stop() or True)
        return inspector

    monkeypatch.setattr(recordacts, "MOST_AT_ONCE", most)
    monkeypatch.setattr(jobacts, "inspector_for", cut_off)
    try:
        sidekick_settings(REDIS=server.url, HISTORY_DATABASE=history)
        with redis_py.Redis.from_url(server.url) as own:
            for jid in "ab":
                record(jid, database=history, state="retry", job_class=NAME)
                own.zadd("retry", {job(jid): 5})

        text = act(client, "retry_now", "a", "b")

        assert "is away" in text
        assert ("1 of 2 done" if most == 1 else "1 job was put on its queue.") in text
        assert LogEntry.objects.get().object_repr in (logged, "b")
    finally:
        server.close()


def test_who_may_only_see_is_offered_no_acts_and_gets_403(three, redis, client, viewer):
    assert 'name="_selected_action"' not in client.get(LIST).content.decode()
    for action in ("retry_now", "run_again", "kill", "delete"):
        posted = {"action": action, "index": "0", "_selected_action": "a", "post": "yes"}
        assert client.post(LIST, posted).status_code == 403
    assert redis.zcard("retry") == 1


def test_who_may_operate_is_offered_what_can_be_taken_back(three, client, operator):
    text = client.get(LIST).content.decode()

    assert 'value="retry_now"' in text and 'value="run_again"' in text
    assert 'value="kill"' not in text and 'value="delete"' not in text and "delete_selected" not in text
    posted = {"action": "delete", "index": "0", "_selected_action": "a", "post": "yes"}
    assert client.post(LIST, posted).status_code == 403


def test_without_redis_an_act_says_so_and_nothing_is_logged(history, client, operator, sidekick_settings):
    record("a", database=history)
    sidekick_settings(HISTORY_DATABASE=history, REDIS=f"redis://127.0.0.1:{free_port()}/0", ENQUEUE_TIMEOUT=0.1)

    assert "is away" in act(client, "retry_now", "a")
    assert "Redis" in act(client, "run_again", "a")
    assert not LogEntry.objects.exists()
