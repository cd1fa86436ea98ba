"""The promises of the README, one after the other, over a real worker and a real Redis."""

from __future__ import annotations

import json
from datetime import timedelta

import pytest

from django_sidekick.broker.broker import get_broker
from django_sidekick.broker.inspector import Inspector
from tests.app.jobs import EchoJob, FlakyJob, GateJob
from tests.conftest import wait_until
from tests.workers import child, running, settled_by, worker_process

pytestmark = pytest.mark.usefixtures("redis")


def test_enqueued_then_busy_then_processed(redis):
    job = GateJob.perform_later(7)
    assert redis.llen("queue:default") == 1

    with running(child()) as worker:
        wait_until(lambda: redis.llen("began"), "the job to begin")
        assert redis.llen("queue:default") == 0
        assert Inspector(get_broker()).find(job.jid).kind == "busy"
        worker.heartbeat.turn()
        work = redis.hvals(f"{worker.ownership.identity}:work")
        assert json.loads(json.loads(work[0])["payload"])["jid"] == job.jid

        redis.rpush("gate", "open")
        wait_until(lambda: redis.llen("ended"), "the job to end")

    assert redis.get("stat:processed") == b"1"
    assert Inspector(get_broker()).find(job.jid) is None


def test_scheduled_then_enqueued_then_processed(redis):
    EchoJob.set(wait=timedelta(milliseconds=150)).perform_later("later")
    assert redis.zcard("schedule") == 1

    with running(child()):
        wait_until(lambda: redis.llen("echo"), "the scheduled job to run")

    assert redis.zcard("schedule") == 0


def test_failed_then_retry_then_dead_then_revived_then_processed(redis):
    """Each retry's hour is brought forward by hand; all else is the worker's."""
    job = FlakyJob.set(retry=2).perform_later()
    inspector = Inspector(get_broker())

    with running(child()) as worker:
        for count in range(2):
            wait_until(lambda: redis.zcard("retry"), "the failure to be written")
            (raw, _), = redis.zrange("retry", 0, -1, withscores=True)
            assert json.loads(raw)["retry_count"] == count
            assert inspector.reschedule(job.jid, 0.0)
            wait_until(lambda text=raw: text not in redis.zrange("retry", 0, -1), "the retry")

        wait_until(lambda: redis.zcard("dead"), "the job to die")
        assert redis.zcard("retry") == 0

        redis.set("healed", 1)
        assert inspector.retry(job.jid)
        wait_until(lambda: settled_by(worker) == 4, "the revived job to run")  # a search misses what moves

    assert inspector.find(job.jid) is None
    assert redis.get("stat:processed") == b"4"
    assert redis.get("stat:failed") == b"3"


def test_max_retries_of_sidekiq_yml(redis, tmp_path):
    """The seed's `:max_retries: 8`: the eighth retry that fails is the last."""
    file = tmp_path / "sidekiq.yml"
    file.write_text(":concurrency: 3\n:max_retries: 8\n:queues:\n  - default\n")
    redis.set("x", 1)
    last = {"class": FlakyJob.name, "args": [], "retry": True, "queue": "default", "jid": "a" * 24, "retry_count": 7}
    before = {**last, "jid": "b" * 24, "retry_count": 6}
    redis.lpush("queue:default", json.dumps(last), json.dumps(before))

    with worker_process("-C", str(file), "--drain") as worker:
        assert worker.wait() == 0, worker.output()
        assert "threads 3" in worker.output()

    assert [json.loads(raw)["jid"] for raw in redis.zrange("dead", 0, -1)] == ["a" * 24]
    assert [json.loads(raw)["jid"] for raw in redis.zrange("retry", 0, -1)] == ["b" * 24]


def test_twenty_six_runs_in_all(redis):
    payload = {"class": FlakyJob.name, "args": [], "retry": True, "queue": "default", "jid": "a" * 24}
    redis.lpush("queue:default", json.dumps(payload))

    with running(child()):
        for _ in range(25):
            wait_until(lambda: redis.zcard("retry"), "a failure")
            raw = redis.zrange("retry", 0, 0)[0]
            redis.zadd("retry", {raw: 0})
            wait_until(lambda: raw not in redis.zrange("retry", 0, -1), "the retry")  # noqa: B023
        wait_until(lambda: redis.zcard("dead"), "the death")

    assert redis.get("stat:processed") == b"26"
    assert json.loads(redis.zrange("dead", 0, 0)[0])["retry_count"] == 25
