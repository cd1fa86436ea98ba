from __future__ import annotations

import json
import statistics
import time
from datetime import timedelta

import pytest
import redis as redis_py

from django_sidekick.broker.due import DueJobs
from tests.app.jobs import EchoJob
from tests.conftest import wait_until
from tests.workers import child, running


@pytest.fixture
def due(broker):
    return DueJobs(broker.client, broker.settings)


def payload(**fields):
    return json.dumps({"class": "A", "args": [], "queue": "low", **fields})


def test_a_queue_without_a_name_holds_up_nobody(redis, due):
    redis.lpush("queue:", "somebody's")
    redis.zadd("schedule", {payload(): 1})

    assert due.enqueue_due() == 1
    assert redis.llen("queue:low") == 1


def test_due_jobs_get_enqueued_at_and_nothing_else_changes(redis, due):
    redis.zadd("schedule", {payload(big=12345678901234567890): 1, payload(n=2): 99_999_999_999})

    assert due.enqueue_due() == 1

    raw = redis.lrange("queue:low", 0, -1)[0].decode()
    assert raw.startswith(payload(big=12345678901234567890)[:-1])
    assert type(json.loads(raw)["enqueued_at"]) is int
    assert redis.zcard("schedule") == 1
    assert redis.smembers("queues") == {b"low"}


@pytest.mark.parametrize("raw", ["{bad", "{}", "", "\xff", "nul"])
def test_what_is_no_job_goes_to_dead_as_it_is(redis, due, raw):
    redis.zadd("schedule", {raw: 1, payload(): 2})

    assert due.enqueue_due() == 2
    assert redis.zrange("dead", 0, -1) == [raw.encode()]
    assert redis.llen("queue:low") == 1


def test_the_queue_is_the_top_level_one(redis, due):
    redis.zadd("schedule", {payload(args=[{"queue": "evil"}]): 1, json.dumps({"class": "A", "args": [{"queue": "evil"}]}): 2})

    due.enqueue_due()

    assert (redis.llen("queue:evil"), redis.llen("queue:low"), redis.llen("queue:low")) == (0, 1, 1)


def test_a_queue_that_is_no_list_does_not_hold_up_the_others(redis, due):
    redis.set("queue:broken", "x")
    redis.zadd("schedule", {payload(queue="broken"): 1, payload(): 2})

    assert due.enqueue_due() == 2
    assert redis.llen("queue:low") == 1
    assert redis.zcard("dead") == 1


@pytest.mark.parametrize("raw", ["[]", "7", '"x"', "null", "[1, {}]", "1e5", '"\\ud800"'])
def test_json_that_is_no_object_goes_to_dead_inside_a_valid_payload(redis, due, raw):
    redis.zadd("retry", {raw: 1, payload(): 2})
    began_s = time.time()

    assert due.enqueue_due() == 2
    ((grave, score),) = redis.zrange("dead", 0, -1, withscores=True)
    fields = json.loads(grave)
    assert (fields["class"], fields["args"], fields["queue"], fields["error_class"]) == ("(malformed)", [raw], "default", "MalformedPayload")
    assert began_s <= score <= time.time()
    assert redis.llen("queue:low") == 1


def test_what_is_buried_on_its_way_keeps_the_dead_set_within_its_limits(redis, broker, sidekick_settings):
    due = DueJobs(broker.client, sidekick_settings(DEAD_MAX_JOBS=4, DEAD_TIMEOUT=timedelta(days=1)))
    redis.zadd("dead", {"old": time.time() - 90_000, "young": time.time() - 80_000})
    redis.zadd("schedule", {"{bad": 1})
    due.enqueue_due()
    assert redis.zrange("dead", 0, -1) == [b"young", b"{bad"]

    redis.zadd("schedule", {f"[{n}]": 1 for n in range(9)})
    due.enqueue_due()
    assert redis.zcard("dead") == 3


class TestOtherTypes:
    """A key that is of another type than it should be: nothing runs twice, and no other job waits for it."""

    @pytest.fixture(params=["queue:odd", "queues", "dead", "queue:odd dead", "queue:odd dead queues"])
    def odd(self, request, redis):
        for name in request.param.split():
            redis.set(name, "text")
        return request.param.split()

    @pytest.mark.parametrize("name", ["schedule", "retry"])
    def test_each_due_job_is_in_one_place_and_the_others_move(self, redis, due, odd, name):
        members = [payload(n=1), "{bad", "[3]", payload(n=2, queue="odd"), payload(n=4)]
        redis.zadd(name, {raw: index for index, raw in enumerate(members)})

        for _ in range(3):
            due.enqueue_due()

        low = [json.loads(raw)["n"] for raw in redis.lrange("queue:low", 0, -1)]
        other = [] if "queue:odd" in odd else [json.loads(raw)["n"] for raw in redis.lrange("queue:odd", 0, -1)]
        left = {raw.decode() for raw in redis.zrange(name, 0, -1)}
        dead = [] if "dead" in odd else redis.zrange("dead", 0, -1)
        assert low == [4, 1]
        assert len(low) + len(other) + len(left) + len(dead) == 5
        assert left == {raw for raw in members[1:4] if "dead" in odd and (raw != members[3] or "queue:odd" in odd)}

    def test_what_fits_nowhere_is_put_off_a_minute_and_moves_when_it_can(self, redis, due):
        redis.set("dead", "text")
        redis.zadd("schedule", {f"[{n}]": 1 for n in range(250)} | {payload(): 2})

        while not redis.llen("queue:low"):
            assert redis.zcount("schedule", "-inf", 2) > 0, "all looked at"
            due.enqueue_due()
        assert due.enqueue_due() == 0, "none is due: nobody turns in circles"
        assert redis.zcount("schedule", time.time() + 50, time.time() + 61) == 250
        redis.delete("dead")
        redis.zadd("schedule", {"[7]": 1})
        assert due.enqueue_due() == 1

    def test_a_set_that_is_none_does_not_hold_up_the_other(self, redis, due):
        redis.set("retry", "text")
        redis.zadd("schedule", {payload(): 1})

        assert due.enqueue_due() == 1

    def test_a_server_that_is_out_of_memory_moves_what_is_due(self, redis, due):
        """It needs no more room in its queue, and makes some when it has run."""
        redis.zadd("schedule", {payload(n=1): 1, "{bad": 1})
        before = redis.config_get("maxmemory")
        redis.config_set("maxmemory", 1)
        try:
            assert due.enqueue_due() == 2
        finally:
            redis.config_set("maxmemory", before["maxmemory"])
        assert (redis.zcard("schedule"), redis.zcard("dead"), redis.llen("queue:low")) == (0, 1, 1)

    def test_a_server_that_only_reads_moves_nothing(self, redis, due):
        redis.zadd("schedule", {payload(n=1): 1, "{bad": 1})
        redis.config_set("min-replicas-to-write", 1)
        try:
            with pytest.raises(redis_py.ResponseError, match="NOREPLICAS"):
                due.enqueue_due()
        finally:
            redis.config_set("min-replicas-to-write", 0)
        assert redis.zcard("schedule") == 2
        assert due.enqueue_due() == 2


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
    """CLIENT TRACKING, then PUBLISH, then looking every 0.1 s: whatever the server grants.

    Looking once a second would be late by half a second on the average.
    """
    redis.execute_command("ACL", "SETUSER", "default", *refused.split())
    late_s = []
    try:
        with running(child()):
            wait_until(lambda: redis.exists("sk:scheduler"), "the leader")
            for number in range(9):
                EchoJob.set(wait=0.05).perform_later(number)
                due = time.monotonic() + 0.05
                wait_until(lambda n=number: redis.llen("echo") == n + 1, "the scheduled job")
                late_s.append(time.monotonic() - due)
    finally:
        redis.execute_command("ACL", "SETUSER", "default", "+@all")
    assert statistics.median(late_s) < 0.15, late_s
