"""A job that its process' death has buried: the project's code hears of it, where it can do no harm."""

from __future__ import annotations

import signal

import pytest

from django_sidekick.broker import obituaries
from django_sidekick.broker.obituaries import Obituary
from django_sidekick.broker.patience import Patience
from django_sidekick.worker.deathnotices import DeathNotices
from tests.app.jobs import EchoJob, MournedJob
from tests.conftest import wait_until
from tests.worker.family import children_of, members, ready, settings_module
from tests.workers import child, running, worker_process

pytestmark = pytest.mark.usefixtures("redis")
HANDLED = 'SIDEKICK["ERROR_HANDLERS"] = ["tests.app.jobs.tell"]\n'


def told(redis):
    return [entry.decode().rsplit(":", 1)[0] for entry in redis.lrange("told", 0, -1)]


def end(worker):
    """End all of its processes: one that outlives it would take the next test's news."""
    worker.send(signal.SIGTERM)
    assert worker.wait() == 0


def bury(redis, broker, raw, times=3):
    for command, key, words in obituaries.announce(Obituary("h:1:a", times, "default", raw), broker.keys):
        redis.execute_command(command, key, *words)


@pytest.fixture
def deathnotices(sidekick_settings, broker):
    return DeathNotices(broker.client, sidekick_settings(ERROR_HANDLERS=["tests.app.jobs.tell"]), Patience(broker.client))


def test_handlers_and_hooks_hear_of_it_in_the_service(redis, tmp_path):
    with worker_process("-p", "1", "-c", "2", **settings_module(tmp_path, "handled", HANDLED)) as worker:
        job = MournedJob.perform_later()
        wait_until(lambda: redis.llen("told") == 3, "the hooks", 30)
        (pid,) = {int(entry.rsplit(b":", 1)[1]) for entry in redis.lrange("told", 0, -1)}
        ready(redis, 1)
        assert pid in children_of(worker.process.pid) - set(members(redis))
        end(worker)

    assert told(redis) == [f"{what}:ProcessDied:{job.jid}" for what in ("handler", "exhausted", "dead")]
    assert redis.zcard("dead") == 1, "what a hook answers changes nothing"
    assert not redis.exists("sk:obituaries")


def test_a_hook_that_kills_the_service_is_called_once_and_the_work_goes_on(redis):
    with worker_process("-p", "1", "-c", "2") as worker:
        MournedJob.perform_later(0, "bitter")
        worker.wait_for("The service process", 30)
        EchoJob.set(wait=0.5).perform_later()
        wait_until(lambda: redis.llen("echo"), "a scheduled job", 30)
        end(worker)

    assert [entry.partition(":")[0] for entry in told(redis)] == ["exhausted", "dead"]
    assert redis.zcard("dead") == 1


def test_a_process_without_children_tells_of_it_too(redis, broker):
    job = MournedJob.perform_later()
    bury(redis, broker, redis.lpop("queue:default"))
    with running(child()):
        wait_until(lambda: redis.llen("told") == 2, "the hooks")

    assert told(redis)[1] == f"dead:ProcessDied:{job.jid}"


@pytest.mark.parametrize("raw", [b'{"class":"Unknown","args":[]}', b"{bad", b'{"class":"A\n","args":[]}'])
def test_handlers_hear_of_what_nobody_here_knows(redis, broker, deathnotices, raw):
    bury(redis, broker, raw)

    assert deathnotices.turn() == 0
    assert told(redis) == ["handler:ProcessDied:None"]
    assert deathnotices.turn() > 0


@pytest.mark.parametrize("error", [ValueError("no"), SystemExit(3), KeyboardInterrupt()])
def test_whatever_a_hook_raises_the_next_one_is_told_of(redis, broker, deathnotices, monkeypatch, error):
    def after_death(self, _):
        raise error

    MournedJob.perform_bulk([(), ()])
    for raw in redis.lrange("queue:default", 0, -1):
        bury(redis, broker, raw)
    monkeypatch.setattr(MournedJob, "after_death", after_death)

    assert [deathnotices.turn() for _ in range(2)] == [0, 0]
    assert len([line for line in told(redis) if line.startswith("handler")]) == 2


def test_news_that_nobody_reads_is_bounded(redis, broker):
    for number in range(1005):
        bury(redis, broker, b"%d" % number, number)

    assert redis.llen("sk:obituaries") == 1000
    assert 0 < redis.ttl("sk:obituaries") <= 72 * 3600
    assert obituaries.take(redis, broker.keys) == Obituary("h:1:a", 5, "default", b"5")
