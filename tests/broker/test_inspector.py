from __future__ import annotations

import json
import time

import pytest

from django_sidekick.broker.broker import Broker
from django_sidekick.broker.inspector import Inspector
from django_sidekick.exceptions import SidekickError
from tests.app.jobs import NoopJob

JID = "f" * 24


def job(**fields):
    return json.dumps({"class": "A", "args": [12345678901234567890], "queue": "low", "jid": JID, "retry": True, "odd": [], **fields})


@pytest.fixture
def inspector(broker):
    return Inspector(broker)


@pytest.mark.parametrize("key", ["retry", "dead"])
def test_a_manual_retry_takes_one_off_the_count_and_pushes(redis, inspector, key):
    redis.zadd(key, {job(retry_count=3): 5})

    assert inspector.retry(JID)

    payload = json.loads(redis.lrange("queue:low", 0, -1)[0])
    assert (payload["retry_count"], payload["args"], payload["odd"]) == (2, [12345678901234567890], [])
    assert type(payload["enqueued_at"]) is int
    assert redis.zcard(key) == 0
    assert redis.sismember("queues", "low")


def test_a_scheduled_job_can_be_put_on_its_queue_now(redis, inspector):
    enqueued = NoopJob.set(wait=60, queue="low").perform_later()

    assert inspector.retry(enqueued.jid)
    assert (redis.zcard("schedule"), redis.llen("queue:low")) == (0, 1)


@pytest.mark.parametrize("key", ["retry", "schedule"])
def test_kill_moves_the_exact_text_to_dead(redis, inspector, key):
    redis.zadd(key, {job(): 5})

    assert inspector.kill(JID)
    assert redis.zrange("dead", 0, -1) == [job().encode()]
    assert redis.zcard(key) == 0


def test_kill_takes_a_job_out_of_its_queue(redis, inspector):
    redis.sadd("queues", "low")
    redis.rpush("queue:low", "first", job(), "last")

    assert inspector.kill(JID)
    assert redis.lrange("queue:low", 0, -1) == [b"first", b"last"]
    assert redis.zcard("dead") == 1


@pytest.mark.parametrize("key", ["retry", "schedule", "dead"])
def test_delete_takes_a_job_out_of_any_set(redis, inspector, key):
    redis.zadd(key, {job(): 5, "other": 6})

    assert inspector.delete(JID)
    assert not inspector.delete(JID)
    assert redis.zcard(key) == 1


def test_cancel_leaves_the_dead_alone(redis, inspector):
    redis.zadd("dead", {job(): 5})

    assert not inspector.cancel(JID)
    assert redis.zcard("dead") == 1


def test_acts_on_a_job_that_is_nowhere_say_so(redis, inspector):
    acts = (inspector.retry, inspector.kill, inspector.delete, inspector.cancel)

    assert [act(JID) for act in acts] == [False] * 4
    assert not inspector.reschedule(JID, 5.0)


def test_a_move_of_what_has_gone_changes_nothing(redis, inspector):
    redis.zadd("retry", {job(): 5})
    found = inspector.find(JID)
    redis.delete("retry")

    assert not inspector._move(found, inspector._planner().to_dead(found.raw))
    assert redis.zcard("dead") == 0


def test_hostile_entries_do_not_stop_a_search(redis, inspector):
    redis.zadd("retry", {JID: 1, f"[{JID}": 2, json.dumps([JID]): 3, json.dumps({"jid": [JID]}): 4})
    redis.zadd("dead", {job(): float("inf")})

    assert inspector.find(JID).kind == "dead"


def test_the_seven_numbers(redis, inspector):
    NoopJob.perform_bulk([(1,), (2,)])
    NoopJob.set(wait=60).perform_later()
    redis.zadd("dead", {"x": 1})
    redis.set("stat:processed", 7)
    redis.sadd("processes", "a:1:b")
    redis.hset("a:1:b", "busy", 3)

    assert inspector.sizes() == {
        "processed": 7, "failed": 0, "busy": 3, "enqueued": 2, "retry": 0, "schedule": 1, "dead": 1,
    }  # fmt: skip
    assert inspector.queues() == {"default": 2}


@pytest.mark.parametrize(("act", "target"), [("retry", "queue:low"), ("kill", "dead")])
def test_a_target_of_another_type_costs_no_job(redis, inspector, act, target):
    redis.zadd("retry", {job(): 5})
    redis.set(target, "no list, no set")

    with pytest.raises(SidekickError, match=target):
        getattr(inspector, act)(JID)
    assert redis.zrange("retry", 0, -1) == [job().encode()]


def test_a_kill_cuts_the_dead_set(redis, sidekick_settings):
    settings = sidekick_settings(DEAD_MAX_JOBS=3, DEAD_TIMEOUT=60)
    now = time.time()
    redis.zadd("dead", {"too old": now - 61, "a": now - 4, "b": now - 3, "c": now - 2})
    redis.zadd("retry", {job(): 5})

    assert Inspector(Broker(settings)).kill(JID)
    assert redis.zrange("dead", 0, -1) == [b"c", job().encode()]


DEEP = f'"args":{"[" * 1015}1{"]" * 1015}'


@pytest.mark.parametrize("odd", ['"args":[1e999]', f'"queue":{"9" * 5000}', DEEP], ids=["infinite", "long", "deep"])
def test_a_retry_of_what_cannot_be_written_again_leaves_it_or_moves_it(redis, inspector, odd):
    member = f'{{"class":"A","args":[],"jid":"{JID}",{odd}}}'
    redis.zadd("dead", {member: 5})

    try:
        moved = inspector.retry(JID)
    except SidekickError:
        moved = False
    assert (redis.zrange("dead", 0, -1), redis.llen("queue:default")) == (([], 1) if moved else ([member.encode()], 0))


def test_a_queue_whose_key_is_no_list_is_passed_over(redis, inspector):
    redis.zadd("dead", {job(): 5})
    redis.sadd("queues", "low", "odd")
    redis.set("queue:odd", "text")
    redis.lpush("queue:low", job(jid="a"))

    assert inspector.queues() == {"low": 1}
    assert inspector.sizes()["enqueued"] == 1
    assert inspector.find("a").key == "queue:low"


def test_where_the_names_of_queues_should_be_and_are_not_none_is_known_and_no_job_is_moved(redis, inspector):
    redis.zadd("dead", {job(): 5})
    redis.set("queues", "text")

    assert inspector.queues() == {}
    with pytest.raises(SidekickError, match="names of queues"):
        inspector.retry(JID)
    assert redis.zrange("dead", 0, -1) == [job().encode()]
