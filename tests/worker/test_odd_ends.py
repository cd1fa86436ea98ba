"""Jobs that end oddly, or cannot even be made, and moments between two steps: each job is run, or fails, and is settled."""

from __future__ import annotations

import asyncio
import io
import json
import signal
import threading

import pytest

from django_sidekick import BaseJob
from django_sidekick.broker import connection, settling
from django_sidekick.broker.keys import Keys
from django_sidekick.conf import get_settings
from django_sidekick.feature import Feature
from django_sidekick.jobs.execute import Executor
from django_sidekick.wire.outcome import Delivery, FollowUp, Outcome
from django_sidekick.worker.child import Child
from django_sidekick.worker.joblog import JobLog
from django_sidekick.worker.options import WorkerOptions
from tests.app.jobs import ForkJob, StampJob
from tests.app.models import Order
from tests.conftest import wait_until
from tests.worker.family import let_nothing_come_back
from tests.workers import child, running, worker_process

pytestmark = pytest.mark.usefixtures("redis")
ran: list[object] = []


@pytest.fixture(autouse=True)
def clean():
    ran.clear()


class NoteJob(BaseJob):
    def perform(self, value):
        ran.append(value)


class NoteOnLoopJob(BaseJob):
    async def perform(self, value):
        ran.append(value)


class NotMadeJob(BaseJob):
    def __init__(self):
        raise SystemExit("not made")

    def perform(self):
        ran.append("never")


class NotMadeOnLoopJob(BaseJob):
    """A first one can be made, so that the others are brought to the loop unread."""

    made = 0

    def __init__(self):
        super().__init__()
        NotMadeOnLoopJob.made += 1
        if NotMadeOnLoopJob.made > 1:
            raise SystemExit("not made")

    async def perform(self):
        pass


class LateCancelJob(BaseJob):
    """Have a database connection opened, end well, and be cancelled behind one's end."""

    async def perform(self):
        await Order.objects.acount()
        ran.append("ran")
        asyncio.get_running_loop().call_later(0, asyncio.current_task().cancel)


class OddError(Exception):
    def __str__(self):
        raise ValueError("no text")


class OddErrorJob(BaseJob):
    def perform(self):
        raise OddError

    def retry_in(self, count, error):
        ran.append(type(error))


def held(redis, worker):
    return [key for key in redis.hkeys(worker.ownership.inflight) if key.isdigit()]


def settled(redis, worker):
    return worker.intake.is_idle() and not held(redis, worker)


def test_what_is_fetched_while_the_identity_changes_is_not_held_for_ever(redis):
    """The lease turns out to be over while the leader makes events: what it fetches then is another identity's."""
    turns = []

    def events_of(identity, finished):
        if turns:
            turns.pop()()
        return b""

    worker = child(concurrency=1, events_of=events_of)
    with running(worker):
        NoteJob.perform_later(1)
        wait_until(lambda: ran == [1] and settled(redis, worker), "the first")
        old = worker.ownership.identity

        def take_over():
            redis.hdel(worker.ownership.inflight, "epoch")
            NoteJob.perform_bulk([(number,) for number in range(3, 8)])
            turn = threading.Thread(target=worker._lease._action)
            turn.start()
            turn.join()

        turns.append(take_over)
        NoteJob.perform_later(2)
        wait_until(lambda: worker.ownership.identity != old, "the new identity")
        wait_until(lambda: {*ran} == set(range(1, 8)) and settled(redis, worker), "all jobs, and none in flight")


def test_a_job_that_cannot_be_made_fails_whatever_it_raises(redis, sidekick_settings, monkeypatch):
    let_nothing_come_back(monkeypatch)  # the one that can be made is made once: it does not go back
    sidekick_settings(ASYNC_CONCURRENCY=3)
    NotMadeOnLoopJob.made = 0
    with running(child(concurrency=1)) as worker:
        NotMadeJob.perform_later()
        NotMadeOnLoopJob.perform_bulk([()] * 12)
        wait_until(lambda: redis.zcard("retry") == 12 and settled(redis, worker), "twelve failures")
        NoteOnLoopJob.perform_bulk([(number,) for number in range(3)])
        wait_until(lambda: sorted(ran) == [0, 1, 2], "the loop to run others")
        wait_until(lambda: len(worker.intake.loop._free) == 3, "all slots to be free")
    assert {json.loads(raw)["error_class"] for raw in redis.zrange("retry", 0, -1)} == {"SystemExit"}


@pytest.mark.django_db(transaction=True)
def test_a_cancel_that_comes_behind_a_jobs_end_changes_nothing(redis):
    with running(child(concurrency=1)) as worker:
        LateCancelJob.perform_later()
        wait_until(lambda: ran and settled(redis, worker), "its settling")
    assert ran == ["ran"]
    assert redis.llen("queue:default") == redis.zcard("retry") == 0


def raise_key_error(outcome):
    raise KeyError("no")


@pytest.mark.parametrize(
    "follow",
    [raise_key_error, lambda outcome: [FollowUp("SET", "x", (None,))], lambda outcome: [FollowUp("DEL", "\ud800", ())]],
    ids=["raises", "None", "no text"],
)
def test_a_bad_follow_up_costs_no_job_its_outcome(redis, follow, caplog):
    class Odd(Feature):
        follow_ups = staticmethod(follow)

    settings = get_settings()
    options = WorkerOptions(settings, (("default", 0),), 1, 5.0)
    worker = Child(options, Executor(settings, features=[Odd()]))
    with running(worker):
        NoteJob.perform_bulk([(number,) for number in range(5)])
        wait_until(lambda: len(ran) == 5 and settled(redis, worker), "all outcomes")
    assert ran == list(range(5))
    assert "is left out" in caplog.text


def test_a_loop_whose_thread_could_not_be_started_is_started_for_the_next_job(redis, monkeypatch):
    start, failed = threading.Thread.start, []

    def fail_once(thread):
        if thread.name == "sidekick-loop" and not failed:
            failed.append(thread)
            raise RuntimeError("can't start new thread")
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", fail_once)
    with running(child()) as worker:
        NoteOnLoopJob.perform_later(1)
        wait_until(lambda: failed, "the failure")
        NoteOnLoopJob.perform_later(2)
        wait_until(lambda: sorted(ran) == [1, 2] and settled(redis, worker), "both jobs")


def test_an_error_without_a_text_is_still_the_jobs_error(redis):
    with running(child(job_log=JobLog(stream=io.StringIO()))):
        OddErrorJob.perform_later()
        wait_until(lambda: redis.zcard("retry"), "the retry")
    assert json.loads(redis.zrange("retry", 0, -1)[0])["error_class"] == "OddError"
    assert ran == [OddError]


@pytest.mark.parametrize("said", ["", '"retry":null,'], ids=["missing", "null"])
@pytest.mark.parametrize(("retry", "kind"), [(True, "retry"), (3, "retry"), (False, "failed"), (0, "dead")])
def test_a_payload_that_says_nothing_of_retries_leaves_it_to_the_class(said, retry, kind, monkeypatch):
    """Source: Sidekiq 8.1, job_retry.rb, `local`."""
    monkeypatch.setattr(OddErrorJob, "retry", retry)
    raw = f'{{{said}"class":"{OddErrorJob.name}","args":[],"jid":"a"}}'.encode()

    outcome = Executor(get_settings())(Delivery(256, "default", raw))

    assert outcome.kind == kind
    if kind == "retry":
        assert json.loads(outcome.member).get("retry", True) is retry


def test_released_jobs_go_back_in_their_old_order(redis):
    released = [Outcome("released", Delivery(256 * number, "q", b"%d" % number)) for number in (3, 1, 2)]
    words = settling.words_of(released, b"", get_settings(), Keys(""), [])

    assert [word for word in words if word in (b"1", b"2", b"3")] == [b"3", b"2", b"1"]


class Limit(BaseException):
    """What a signal's handler may raise."""


@pytest.mark.parametrize("together", [False, True])
def test_a_call_that_a_signal_has_cut_leaves_no_reply_to_the_next_one(redis, monkeypatch, together):
    lines = connection.DirectPool(connection.client(get_settings(), socket_timeout_s=1.0))
    lines.execute_command("PING")
    link = lines._idle[0]._link

    def cut(*words, **keys):
        raise Limit

    redis.set("a", "stale")
    with monkeypatch.context() as patch:
        patch.setattr(link, "read_response", cut)
        with pytest.raises(Limit):
            lines.execute_together(("GET", "a"), ("GET", "a")) if together else lines.execute_command("GET", "a")

    assert lines.execute_command("ECHO", "mine") == b"mine"


def test_a_copy_that_a_job_has_forked_ends_with_it(redis):
    """It shares the journal and the connections; as one more worker it would run what the other runs."""
    with worker_process("-c", "2") as worker:
        for how in ("return", "error", "exit"):
            ForkJob.perform_later(how)
        StampJob.perform_bulk([(number,) for number in range(50)])
        wait_until(lambda: redis.llen("stamps") >= 50 and redis.llen("copies") == 3, "all of it")
        worker.send(signal.SIGTERM)
        assert worker.wait() == 0

    assert set(redis.lrange("copies", 0, -1)) == {b"return:0", b"error:1", b"exit:5"}
    assert {stamp.split(b":")[1] for stamp in redis.lrange("stamps", 0, -1)} == {str(worker.process.pid).encode()}
    assert redis.llen("stamps") == 50
    assert (redis.get("stat:processed"), redis.get("stat:failed"), redis.zcard("retry")) == (b"53", b"0", 0)
