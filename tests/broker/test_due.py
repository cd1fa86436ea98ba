from __future__ import annotations

import json

import pytest

from django_sidekick.broker.due import DueJobs
from tests.app.jobs import EchoJob
from tests.conftest import wait_until
from tests.workers import child, running


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


@pytest.mark.parametrize("size", [2_000, 10_000, 200_000])
def test_large_jobs_are_moved_a_few_at_a_time(redis, due, size):
    redis.zadd("schedule", {payload(n=n, args=["x" * size]): 1 for n in range(100)})

    moved = due.enqueue_due()

    assert 0 < moved * size <= 300_000 + 4 * size
    while moved < 100:
        moved += due.enqueue_due()
    assert redis.llen("queue:low") == 100


@pytest.mark.parametrize("args", ['["\\ud800"]', "[" * 1500 + "]" * 1500])
def test_what_redis_cannot_decode_is_moved_if_it_begins_as_sidekiq_writes_it(redis, due, args):
    raw = f'{{"retry":true,"queue":"low","args":{args},"class":"A"}}'
    redis.zadd("schedule", {raw: 1})

    assert due.enqueue_due() == 1
    assert redis.lrange("queue:low", 0, -1)[0].decode().startswith(raw[:-1])
    assert redis.zcard("dead") == 0


def test_infinite_scores_are_no_trouble(redis, due):
    redis.zadd("retry", {payload(a=1): float("-inf"), payload(a=2): float("inf")})

    assert due.enqueue_due() == 1
    assert redis.zcard("retry") == 1


def test_one_call_moves_a_slice(redis, due):
    redis.zadd("schedule", {payload(n=n): 1 for n in range(250)})

    assert [due.enqueue_due() for _ in range(4)] == [100, 100, 50, 0]
    assert redis.llen("queue:low") == 250


@pytest.mark.parametrize("refused", ["-client|tracking", "-client|tracking -subscribe"])
def test_a_server_that_tells_of_no_change_delays_a_job_by_little(redis, sidekick_settings, refused):
    """CLIENT TRACKING, then PUBLISH, then looking every 0.1 s: whatever the server grants."""
    redis.execute_command("ACL", "SETUSER", "default", *refused.split())
    try:
        with running(child()):
            EchoJob.set(wait=0.2).perform_later("due")
            wait_until(lambda: redis.llen("echo"), "the scheduled job", 5)
    finally:
        redis.execute_command("ACL", "SETUSER", "default", "+@all")
