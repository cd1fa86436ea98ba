"""What a server holds for a worker that has done with it: its data is older than what it has said."""

from __future__ import annotations

import pytest

from django_sidekick.worker.strays import Strays
from tests.app.jobs import EchoJob, FailJob, GateJob
from tests.conftest import wait_until
from tests.workers import child, running

pytestmark = pytest.mark.usefixtures("redis")


@pytest.fixture
def worker(redis):
    with running(child()) as worker:
        yield worker
        redis.rpush("gate", *"123")


def tags(redis, worker):
    return {int(tag) for tag in redis.hkeys(worker.ownership.inflight) if tag.isdigit()}


def go_back(redis, worker):
    """One job that has ended well and one that has failed are held again; a third one runs. Return the tags of the first two."""
    GateJob.perform_later(1)
    wait_until(lambda: redis.llen("began") == 1, "the first job")
    (done,) = tags(redis, worker)
    raw = redis.hget(worker.ownership.inflight, done)
    redis.rpush("gate", 1)
    wait_until(lambda: not tags(redis, worker), "its end")
    FailJob.perform_later()
    wait_until(lambda: redis.zcard("retry"), "a failure")
    failed = done + 256
    GateJob.perform_later(2)
    wait_until(lambda: redis.llen("began") == 2, "the one that runs")
    EchoJob.set(queue="aside").perform_later("again")
    redis.delete("retry")
    redis.hset(worker.ownership.inflight, mapping={done: raw, failed: redis.lpop("queue:aside")})
    return done, failed


def test_what_was_lost_with_a_server_is_settled_or_runs_again(redis, worker):
    done, failed = go_back(redis, worker)
    strays = Strays(worker.intake)
    worker.ownership.patience.troubles += 1

    strays.look()
    assert {done, failed} < tags(redis, worker), "what is there once may be on its way"
    strays.look()
    wait_until(lambda: redis.llen("echo"), "what has failed to run again")
    wait_until(lambda: len(tags(redis, worker)) == 1, "the rest to be settled")
    assert (redis.llen("began"), redis.llen("ended")) == (2, 1), "one has run, one runs, none again"


def test_nobody_looks_while_there_is_no_trouble(redis, worker):
    done, failed = go_back(redis, worker)
    strays = Strays(worker.intake)
    for _ in range(3):
        strays.look()

    assert {done, failed} < tags(redis, worker)


def test_what_is_being_settled_is_no_stray(redis, worker):
    """Redis refuses it for long: the key of retry is of another type."""
    redis.set("retry", "text")
    FailJob.perform_later()
    wait_until(lambda: worker.intake.finished.all_tags() == tags(redis, worker) != set(), "the failure to be held up")
    strays = Strays(worker.intake)
    worker.ownership.patience.troubles += 1
    for _ in range(2):
        strays.look()
    assert len(tags(redis, worker)) == 1
    redis.delete("retry")
    wait_until(lambda: redis.zcard("retry") == 1, "its retry")
