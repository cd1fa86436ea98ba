from __future__ import annotations

import pytest
from redis.exceptions import BusyLoadingError

from django_sidekick.broker import pushing
from django_sidekick.broker.broker import run
from django_sidekick.exceptions import BrokerUnavailable

JOBS = [("default", b'{"jid":"%d"}' % number, None) for number in range(pushing.MANY)]


def test_many_jobs_of_one_queue_are_one_transaction_and_no_script(redis, broker):
    broker.push(JOBS)
    redis.config_resetstat()
    broker.push(JOBS)

    calls = {name: stat["calls"] for name, stat in redis.info("commandstats").items()}
    assert (calls["cmdstat_lpush"], calls["cmdstat_exec"]) == (1, 1)
    assert not {"cmdstat_evalsha", "cmdstat_eval"} & set(calls)
    assert redis.lrange("queue:default", 0, -1) == [raw for _, raw, _ in reversed(JOBS)] * 2
    assert redis.smembers("queues") == {b"default"}
    assert all(0 < redis.ttl(token) <= 20 for token in redis.keys("sk:push:*"))
    assert len(redis.keys("sk:push:*")) == 2


@pytest.mark.parametrize(
    "jobs",
    [JOBS[1:], [*JOBS, ("low", b"{}", None)], [*JOBS, ("default", b"{}", 4e9)], [(q, r, 4e9) for q, r, _ in JOBS]],
    ids=["few", "two queues", "one scheduled", "all scheduled"],
)
def test_other_pushes_are_the_scripts(redis, broker, jobs):
    redis.config_resetstat()
    broker.push(jobs)

    assert "cmdstat_exec" not in redis.info("commandstats")
    assert redis.llen("queue:default") + redis.llen("queue:low") + redis.zcard("schedule") == len(set(jobs))


@pytest.mark.parametrize("first", ["transaction", "script"])
def test_a_transaction_that_arrives_late_changes_nothing(redis, broker, first):
    keys, words = broker._push_words(JOBS)
    if first == "script":
        assert run(broker.client, "push", keys, words) == 1
    else:
        assert pushing.push_together(broker._pool, keys, words)

    assert not pushing.push_together(broker._pool, keys, words)
    assert run(broker.client, "push", keys, words) == 0
    assert redis.llen("queue:default") == len(JOBS)


def test_a_push_between_watch_and_exec_forbids_the_transaction(redis, broker):
    keys, words = broker._push_words(JOBS)
    with redis.pipeline() as late:
        late.watch(keys[0])
        late.expire(keys[0], 10)
        late.multi()
        late.lpush(keys[3], *words[5:])
        run(broker.client, "push", keys, words)
        with pytest.raises(Exception, match="Watched variable changed"):
            late.execute()

    assert redis.llen("queue:default") == len(JOBS)


def test_a_transaction_that_is_refused_leaves_no_token_and_the_script_says_why(redis, broker):
    redis.set("queue:default", "text")
    keys, words = broker._push_words(JOBS)
    assert not pushing.push_together(broker._pool, keys, words)
    with pytest.raises(BrokerUnavailable, match="queue:default is a string"):
        broker.push(JOBS)
    assert redis.keys("sk:push:*") == []

    redis.delete("queue:default")
    assert run(broker.client, "push", keys, words) == 1


def test_replies_that_are_errors_stand_in_their_places(redis, broker):
    redis.set("text", "x")
    replies = broker._pool.execute_together(("LLEN", "text"), ("GET", "text"), ("NOSUCH",), ("STRLEN", "text"))

    assert [type(reply).__name__ for reply in replies[::2]] == ["ResponseError", "ResponseError"]
    assert replies[1::2] == [b"x", 1]
    assert broker._pool.execute_command("GET", "text") == b"x"


def test_replies_that_were_not_read_answer_no_later_command(broker):
    loading = "return redis.error_reply('LOADING the dataset')"
    with pytest.raises(BusyLoadingError):
        broker._pool.execute_together(("EVAL", loading, 0), ("ECHO", "old"))

    assert broker._pool.execute_command("ECHO", "new") == b"new"
