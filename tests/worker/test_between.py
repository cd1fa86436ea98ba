"""Between the end of a job and its settling, and between a fetch and the beginning: nothing is lost there, or begins too late."""

from __future__ import annotations

import io
import json
import logging
import time

import pytest

from django_sidekick import BaseJob
from django_sidekick.broker.beats import ProcessBeat
from django_sidekick.broker.broker import get_broker
from django_sidekick.broker.ownership import Ownership
from django_sidekick.broker.patience import Patience
from django_sidekick.broker.recovery import OwnerRegister
from django_sidekick.conf import get_settings
from django_sidekick.exceptions import BrokerUnavailable
from django_sidekick.jobs.mirrored import events_of
from django_sidekick.jobs.registry import JOBS
from django_sidekick.wire import codec, event
from django_sidekick.wire.outcome import Outcome
from django_sidekick.worker import display as displays
from django_sidekick.worker.custody import ChildState, Custody
from django_sidekick.worker.display import Display, ProcessInfo
from django_sidekick.worker.joblog import JobLog
from django_sidekick.worker.journal import Began, Journal, path_of
from django_sidekick.worker.options import WorkerOptions
from django_sidekick.worker.recovery import Recovery, TakeOver
from tests.app.jobs import EchoJob, NoopJob
from tests.conftest import wait_until
from tests.workers import child, running, shorten_leases

pytestmark = pytest.mark.usefixtures("redis")
LONG = int("1" * 5000, 16)


@pytest.fixture
def in_force(sidekick_settings, tmp_path):
    return sidekick_settings(RUNTIME_DIR=tmp_path)


@pytest.fixture
def let_write(redis):
    """Takes whether the server writes, or only reads."""

    def let(writes):
        redis.config_set("min-replicas-to-write", 0 if writes else 1)

    yield let
    let(True)


def worker_that_holds(jobs, **keys):
    """A Child that is not started, with its deliveries."""
    worker = child(**keys)
    worker.ownership.register()
    NoopJob.perform_bulk([(number,) for number in range(jobs)])
    return worker, worker.ownership.fetch([0], jobs, [])


def ended(worker, delivery):
    return worker.intake._execute(delivery, time.perf_counter())


def held(redis, worker):
    return sum(key.isdigit() for key in redis.hkeys(worker.ownership.inflight))


class TestWhatCannotBeSettledYet:
    @pytest.mark.parametrize("way", ["settle", "fetch"])
    def test_it_is_kept_and_counted_once(self, redis, in_force, let_write, way):
        worker, (delivery,) = worker_that_holds(1)
        intake = worker.intake
        intake.finished.append(ended(worker, delivery))
        worker.ownership.patience.give_up()
        let_write(False)

        with pytest.raises(BrokerUnavailable):
            intake.settle() if way == "settle" else intake._fetch()
        assert held(redis, worker) == len(intake.finished) == 1
        let_write(True)
        intake.settle()

        assert held(redis, worker) == 0
        assert intake.tally.totals()[:2] == (1, 0)

    def test_it_is_settled_when_the_worker_signs_off(self, redis, in_force, let_write):
        """As after a TERM during an outage that ends before the process does: a finished job does not run again."""
        worker, (delivery,) = worker_that_holds(1)
        worker.intake.finished.append(ended(worker, delivery))
        worker.ownership.patience.give_up()
        let_write(False)
        with pytest.raises(BrokerUnavailable):
            worker.intake._fetch()
        let_write(True)

        worker._sign_off()

        assert redis.llen("queue:default") == 0
        assert redis.get("stat:processed") == b"1"


def test_an_event_that_cannot_be_made_keeps_no_job(redis, in_force, caplog):
    def nothing_of(identity, outcomes):
        raise ValueError("nothing to tell")

    with running(child(events_of=nothing_of)):
        EchoJob.perform_later(1)
        wait_until(lambda: redis.llen("echo"), "the run")
        wait_until(lambda: not any(redis.hlen(key) > 3 for key in redis.keys("sk:inflight:*")), "the acknowledgement")

    assert redis.llen("queue:default") == 0
    assert "cannot be told to the history" in caplog.text


def test_a_key_of_another_type_stops_a_settling_before_anything_has_moved(redis, sidekick_settings):
    """Lua takes nothing back: a job that left before the error would never have its event."""
    sidekick_settings(HISTORY="finished")
    worker, (done, failed) = worker_that_holds(2)
    redis.set("retry", "a text")
    outcomes = [
        Outcome("done", done, codec.loads(done.raw), 1e9, 0.1),
        Outcome("retry", failed, codec.loads(failed.raw), 1e9, 0.1, ValueError("no"), failed.raw, 2e9),
    ]
    blob = event.encode("me", outcomes)
    worker.ownership.patience.give_up()

    with pytest.raises(BrokerUnavailable, match="WRONGTYPE"):
        worker.ownership.acknowledge(outcomes, blob)
    assert (held(redis, worker), redis.xlen("sk:events")) == (2, 0)
    redis.delete("retry")

    assert worker.ownership.acknowledge(outcomes, blob) == 2
    assert (held(redis, worker), redis.zcard("retry"), redis.xlen("sk:events")) == (0, 1, 1)


class TestWhatComesTooLate:
    def test_what_a_fetch_brings_after_the_quiet_goes_back(self, redis, in_force, monkeypatch):
        worker, _ = worker_that_holds(0)
        NoopJob.perform_bulk([(1,), (2,)])
        fetch = worker.ownership.fetch

        def slow(*words):
            deliveries = fetch(*words)
            worker.quiet()
            return deliveries

        monkeypatch.setattr(worker.ownership, "fetch", slow)

        worker.intake._fetch()

        assert not worker.intake.buffer
        assert [json.loads(raw)["args"] for raw in redis.lrange("queue:default", 0, -1)] == [[2], [1]]

    def test_what_a_fetch_brings_to_an_identity_that_is_gone_does_not_begin(self, redis, in_force, monkeypatch):
        worker, _ = worker_that_holds(0)
        NoopJob.perform_later(1)
        fetch, old = worker.ownership.fetch, worker.ownership.identity

        def slow(*words):
            deliveries = fetch(*words)
            worker.intake.start_over(old)
            return deliveries

        monkeypatch.setattr(worker.ownership, "fetch", slow)

        worker.intake._fetch()

        assert not worker.intake.buffer
        assert redis.llen("queue:default") == 1


class TestWhatASupervisorMeets:
    def test_a_process_of_older_code_shows_its_own_queues(self, redis, in_force):
        own = Ownership(in_force, ["removed", "default"])
        own.register()
        NoopJob.set(queue="removed").perform_later(1)
        (delivery,) = own.fetch([0, 1], 1, [])
        info = ProcessInfo((("default", 0),), 1, "tests", (), 1e9)

        Display(ProcessBeat(own.client, own.keys), info).beat(own.identity, [Began(0, delivery.tag, 1e9)], quiet=False)

        (work,) = redis.hvals(f"{own.identity}:work")
        assert json.loads(work)["queue"] == "removed"

    def test_no_error_of_its_own_ends_it(self, redis, in_force, monkeypatch, caplog):
        own = Ownership(in_force, ["default"])
        own.register()
        end = redis.zscore("sk:owners", own.identity)
        custody = Custody(WorkerOptions(settings=in_force, queues=(("default", 0),), concurrency=1, shutdown_timeout_s=1.0, tag="tests"))
        monkeypatch.setattr(displays.Display, "beat", lambda *words, **keys: [][1])

        wait_until(lambda: redis.time()[0] + 15 > end + 1, "a lease that ends later")
        custody.turn([ChildState(own.identity, time.time(), False)], lambda identity, name: None)

        assert redis.zscore("sk:owners", own.identity) > end
        assert "IndexError" in caplog.text

    def test_a_finished_job_that_cannot_be_read_here_is_settled_all_the_same(self, redis, in_force):
        own = Ownership(in_force, ["default"])
        own.register()
        redis.lpush("queue:default", b"[" * 50)
        (delivery,) = own.fetch([0], 1, [])
        journal = Journal(path_of(in_force.runtime_dir, own.identity), 1, 100)
        journal.mark_finished(delivery.tag, 1e9, 0.1)
        owners = OwnerRegister(get_broker().client, in_force)

        taken = TakeOver(owners, in_force, event.encode).slice(own.identity, certain=True)

        assert (taken.settled, taken.returned) == (1, 0)

    def test_one_that_cannot_be_recovered_holds_up_no_other(self, redis, in_force, monkeypatch, caplog):
        dead = [Ownership(in_force, ["default"]) for _ in range(2)]
        for number, own in enumerate(dead):
            own.register()
            NoopJob.perform_later(number)
            own.fetch([0], 1, [])
        shorten_leases(redis)
        owners = OwnerRegister(get_broker().client, in_force)
        take_over = TakeOver(owners, in_force)
        whole = take_over.slice
        monkeypatch.setattr(take_over, "slice", lambda identity: [][1] if identity == min(own.identity for own in dead) else whole(identity))

        Recovery(owners, take_over, Patience(get_broker().client)).turn()

        assert redis.llen("queue:default") == 1
        assert "IndexError" in caplog.text


def log_jid(error, context):
    logging.getLogger("tests").error("%s failed", context["job"].jid)


class LoudJob(BaseJob):
    def perform(self):
        raise ValueError("no")

    def after_death(self, error):
        raise SystemExit(f"as loud as {self.jid}")


def test_a_jid_that_cannot_be_printed_stops_no_thread_and_no_log(redis, sidekick_settings):
    payload = {"class": LoudJob.name, "args": [], "jid": LONG, "queue": "default", "retry": 0}
    lines = io.StringIO()
    sidekick_settings(ERROR_HANDLERS=[f"{__name__}.log_jid"], HISTORY="finished", HISTORY_SAMPLE=0.5)
    with running(child(concurrency=1, job_log=JobLog(stream=lines), events_of=events_of(get_settings(), JOBS))) as worker:
        redis.lpush("queue:default", *[codec.dumps(payload | {"created_at": number}) for number in range(2)])
        wait_until(lambda: redis.zcard("dead") == 2, "both deaths")
        NoopJob.perform_later(1)
        wait_until(lambda: worker.intake.done == 3, "the next job")

    assert lines.getvalue().count("beyond printing") == 4
    assert "NoopJob" in lines.getvalue()
