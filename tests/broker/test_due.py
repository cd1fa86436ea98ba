from __future__ import annotations

import json

import pytest

from django_sidekick.broker.due import DueJobs


@pytest.fixture
def due(broker):
    return DueJobs(broker.client, broker.keys, "milliseconds")


def payload(**fields):
    return json.dumps({"class": "A", "args": [], "queue": "low", **fields})


def test_due_jobs_get_enqueued_at_and_nothing_else_changes(redis, due):
    redis.zadd("schedule", {payload(big=12345678901234567890): 1, payload(n=2): 99_999_999_999})

    assert due.enqueue_due() == 1

    raw = redis.lrange("queue:low", 0, -1)[0].decode()
    assert raw.startswith(payload(big=12345678901234567890)[:-1])
    assert type(json.loads(raw)["enqueued_at"]) is int
    assert redis.zcard("schedule") == 1
    assert redis.smembers("queues") == {b"low"}


@pytest.mark.parametrize("raw", ["{bad", "[]", "7", '"x"', "{}", "", "\xff"])
def test_what_is_no_job_goes_to_dead_as_it_is(redis, due, raw):
    redis.zadd("schedule", {raw: 1, payload(): 2})

    assert due.enqueue_due() == 2
    assert redis.zrange("dead", 0, -1) == [raw.encode()]
    assert redis.llen("queue:low") == 1


def test_the_queue_is_the_top_level_one(redis, due):
    redis.zadd("schedule", {payload(args=[{"queue": "evil"}]): 1, json.dumps({"class": "A", "args": [{"queue": "evil"}]}): 2})

    due.enqueue_due()

    assert (redis.llen("queue:evil"), redis.llen("queue:low"), redis.llen("queue:default")) == (0, 1, 1)


def test_a_queue_that_is_no_list_does_not_hold_up_the_others(redis, due):
    redis.set("queue:broken", "x")
    redis.zadd("schedule", {payload(queue="broken"): 1, payload(): 2})

    assert due.enqueue_due() == 2
    assert redis.llen("queue:low") == 1
    assert redis.zcard("dead") == 1


def test_infinite_scores_are_no_trouble(redis, due):
    redis.zadd("retry", {payload(a=1): float("-inf"), payload(a=2): float("inf")})

    assert due.enqueue_due() == 1
    assert redis.zcard("retry") == 1


def test_one_call_moves_a_slice(redis, due):
    redis.zadd("schedule", {payload(n=n): 1 for n in range(250)})

    assert [due.enqueue_due() for _ in range(4)] == [100, 100, 50, 0]
    assert redis.llen("queue:low") == 250
