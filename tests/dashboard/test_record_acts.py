from __future__ import annotations

import json
import time
from html import unescape

import pytest
from django.contrib.admin.models import DELETION, LogEntry

from django_sidekick.dashboard import recordacts
from django_sidekick.models import JobRecord
from tests.conftest import free_port
from tests.dashboard.records import record

pytestmark = pytest.mark.django_db(databases="__all__")
LIST = "/admin/django_sidekick/jobrecord/"
NAME = "tests.app.jobs.NoopJob"


def job(jid, **fields):
    return json.dumps({"class": NAME, "args": [1], "queue": "low", "jid": jid, "retry": True, "retry_count": 1, **fields})


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


def test_too_many_at_once_are_refused_and_nothing_is_done(three, redis, client, operator, monkeypatch):
    monkeypatch.setattr(recordacts, "MOST_AT_ONCE", 2)

    text = act(client, "retry_now", "a", select_across="1", post="yes")

    assert "These are more than 2 jobs" in text
    assert redis.llen("queue:low") == 0


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
