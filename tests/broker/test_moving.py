from __future__ import annotations

import contextlib
import json
import threading
import time

import pytest
from redis.exceptions import ResponseError

from django_sidekick.broker.moving import Move, Mover, Planner, Source, to_time
from django_sidekick.conf import get_settings

RETRY = Source("retry")


def job(number, **fields):
    fields = {"retry": True, "queue": "low", "class": "A", "args": [number], "jid": f"{number:024x}", **fields}
    return json.dumps(fields).encode()


@pytest.fixture
def planner(broker):
    return Planner(get_settings(), broker.keys, 1_800_000_000.0)


@pytest.fixture
def mover(broker):
    return Mover(get_settings(), broker.keys, broker.run)


def to_queue(planner, raw, *, is_failure=True):
    return planner.to_queue(raw, json.loads(raw), is_failure=is_failure)


def test_many_jobs_move_to_their_queues_the_first_to_run_first(redis, mover, planner):
    raws = [job(n, queue="low" if n % 2 else "high", retry_count=3) for n in range(250)]
    redis.zadd("retry", {raw: n for n, raw in enumerate(raws)})

    moved = mover.move(RETRY, [to_queue(planner, raw) for raw in raws])

    assert (len(moved.done), moved.gone, moved.refused) == (250, (), ())
    assert redis.zcard("retry") == 0
    assert redis.smembers("queues") == {b"low", b"high"}
    high = [json.loads(raw) for raw in redis.lrange("queue:high", 0, -1)]
    assert [payload["args"][0] for payload in reversed(high)] == list(range(0, 250, 2))
    assert {payload["retry_count"] for payload in high} == {2}
    assert {payload["enqueued_at"] for payload in high} == {1_800_000_000_000}


def test_what_has_gone_from_a_long_queue_is_not_looked_for_to_its_end(redis, mover):
    redis.lpush("queue:low", *(b"a job of %d" % n for n in range(100_000)))
    beginning, gone = Source("queue:low", "list", 1000), [Move(b"gone %d" % n) for n in range(100)]

    moved = mover.move(beginning, [*gone, Move(b"a job of 999"), Move(b"a job of 1000")])

    assert [move.raw for move in moved.done] == [b"a job of 999"]
    assert len(moved.gone) == 101
    took_us = []
    for _ in range(5):  # a server that has to wait for the machine counts that too
        redis.config_resetstat()
        mover.move(beginning, gone)
        took_us.append(redis.info("commandstats")["cmdstat_lpos"]["usec"])
    assert min(took_us) < 50_000, "all the others would have waited for it"


def test_a_second_time_nothing_changes(redis, mover, planner):
    redis.zadd("retry", {job(n): n for n in range(3)})
    moves = [to_queue(planner, job(n)) for n in range(3)]
    mover.move(RETRY, moves)

    again = mover.move(RETRY, moves)

    assert (again.done, len(again.gone)) == ((), 3)
    assert redis.llen("queue:low") == 3


def test_what_has_gone_holds_up_nobody(redis, mover, planner):
    redis.zadd("retry", {job(n): n for n in range(0, 10, 2)})

    moved = mover.move(RETRY, [to_queue(planner, job(n)) for n in range(10)])

    assert (len(moved.done), len(moved.gone)) == (5, 5)
    assert redis.llen("queue:low") == 5


def test_a_queue_whose_key_is_no_list_refuses_its_own_jobs_only(redis, mover, planner):
    redis.set("queue:bad", "no list")
    raws = [job(n, queue="bad" if n == 1 else "low") for n in range(3)]
    redis.zadd("retry", dict.fromkeys(raws, 5))

    moved = mover.move(RETRY, [to_queue(planner, raw) for raw in raws])

    assert [move.raw for move in moved.refused] == [raws[1]]
    assert redis.zrange("retry", 0, -1) == [raws[1]]
    assert redis.llen("queue:low") == 2


@pytest.mark.parametrize("key", ["queues", "sk:events"])
def test_a_key_of_another_type_loses_no_job(redis, broker, planner, key):
    redis.set(key, "odd")
    redis.zadd("retry", {job(1): 5})
    mover = Mover(get_settings(), broker.keys, broker.run, lambda moves: b"event")

    mover.move(RETRY, [to_queue(planner, job(1))])

    assert redis.zcard("retry") + redis.llen("queue:low") == 1


def test_burying_cuts_the_dead_set_in_the_same_step(redis, sidekick_settings, broker, planner):
    settings = sidekick_settings(DEAD_MAX_JOBS=3, DEAD_TIMEOUT=60)
    now = time.time()
    redis.zadd("dead", {"too old": now - 61, "a": now - 4, "b": now - 3})
    redis.zadd("retry", {job(1): 5})
    fresh = Planner(settings, broker.keys, now)

    Mover(settings, broker.keys, broker.run).move(RETRY, [fresh.to_dead(job(1))])

    assert redis.zrange("dead", 0, -1, withscores=True) == [(b"b", now - 3), (job(1), now)]


def test_a_new_time_keeps_the_text_and_a_removal_leaves_the_others(redis, mover):
    redis.zadd("schedule", {job(1): 5, job(2): 6, job(3): 7})
    schedule = Source("schedule")

    mover.move(schedule, [to_time(job(1), "schedule", 99.5), Move(job(2))])

    assert redis.zrange("schedule", 0, -1, withscores=True) == [(job(3), 7.0), (job(1), 99.5)]


def test_events_go_with_the_jobs_that_moved(redis, broker, planner):
    redis.zadd("retry", {job(1): 1, job(3): 3})
    mover = Mover(
        get_settings(), broker.keys, broker.run, lambda moves: b",".join(str(json.loads(m.raw)["args"][0]).encode() for m in moves)
    )

    mover.move(RETRY, [to_queue(planner, job(n)) for n in (1, 2, 3)])
    mover.move(RETRY, [to_queue(planner, job(n)) for n in (1, 2, 3)])

    assert [fields for _, fields in redis.xrange("sk:events")] == [{b"b": b"1,3"}]


def test_many_hands_at_once_move_each_job_once(redis, broker, planner):
    raws = [job(n) for n in range(1000)]
    redis.zadd("retry", {raw: n for n, raw in enumerate(raws)})
    counts = []

    def act():
        mover = Mover(get_settings(), broker.keys, broker.run)
        counts.append(len(mover.move(RETRY, [to_queue(planner, raw) for raw in raws]).done))

    threads = [threading.Thread(target=act) for _ in range(4)]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]

    assert sum(counts) == 1000
    assert redis.llen("queue:low") == len(set(redis.lrange("queue:low", 0, -1))) == 1000


def test_a_server_that_is_out_of_memory_loses_no_job(redis, mover, planner):
    redis.zadd("retry", {job(1): 5})
    redis.config_set("maxmemory", 1)
    try:
        with contextlib.suppress(ResponseError):  # it may refuse at once, and not half way
            mover.move(RETRY, [to_queue(planner, job(1))])
    finally:
        redis.config_set("maxmemory", 0)
    assert redis.zcard("retry") + redis.llen("queue:low") == 1


def test_a_step_holds_redis_up_for_a_moment_only(redis, mover, planner):
    raws = [job(n, error_message="x" * 700) for n in range(1000)]
    mean_us = []
    for _ in range(5):
        redis.zadd("retry", {raw: n for n, raw in enumerate(raws)})
        redis.config_resetstat()
        mover.move(RETRY, [to_queue(planner, raw) for raw in raws])
        calls = redis.info("commandstats")["cmdstat_evalsha"]
        assert calls["calls"] >= 10
        mean_us.append(calls["usec"] / calls["calls"])

    assert min(mean_us) < 5000  # about 300 on a quiet machine
