"""Coroutine jobs: one loop a process, a limit of their own, Django's rules."""

from __future__ import annotations

import asyncio
import collections
import contextvars
import json
import os
import signal
import threading
import time

import pytest
import redis as redis_py
from asgiref.sync import sync_to_async
from django.core.exceptions import SynchronousOnlyOperation
from django.db import connections

from django_sidekick import BaseJob
from django_sidekick.broker.broker import get_broker
from django_sidekick.conf import get_settings
from django_sidekick.jobs import connections as job_connections
from django_sidekick.jobs.execute import Executor
from django_sidekick.wire.outcome import Awaiting, Delivery
from tests.app.jobs import EchoJob
from tests.app.models import Order
from tests.conftest import wait_until
from tests.worker.family import let_nothing_come_back
from tests.workers import child, running, worker_process

pytestmark = pytest.mark.usefixtures("redis")

SEEN: list[object] = []
GATES: list[asyncio.Event] = []
MINE = contextvars.ContextVar("mine", default="clean")


@pytest.fixture(autouse=True)
def clean():
    SEEN.clear()
    GATES.clear()


class NoteJob(BaseJob):
    async def perform(self, number, *, note=""):
        SEEN.append((number, note, threading.current_thread().name, MINE.get(), id(asyncio.get_running_loop())))
        MINE.set(f"dirty {number}")
        assert asyncio.current_task() is not None


class HeldJob(BaseJob):
    """Wait until the test opens the gate."""

    async def perform(self, number):
        gate = asyncio.Event()
        GATES.append(gate)
        SEEN.append(number)
        try:
            await gate.wait()
        except asyncio.CancelledError:
            SEEN.append(f"cancelled {number}")
            raise


class RaisesJob(BaseJob):
    async def perform(self, name):
        await asyncio.wait({asyncio.ensure_future(asyncio.to_thread(lambda: None))})
        raise {"ValueError": ValueError, "SystemExit": SystemExit, "CancelledError": asyncio.CancelledError}[name]("no")


class SyncOrmJob(BaseJob):
    async def perform(self):
        Order.objects.count()

    def retry_in(self, count, error):
        SEEN.append((type(error), Order.objects.count()))  # a hook may use the ORM
        return "discard"


class AsyncOrmJob(BaseJob):
    async def perform(self):
        await Order.objects.acreate(number=5)
        SEEN.append(await Order.objects.acount())


def open_gates(worker):
    for gate in GATES:
        worker.intake.loop._loop.call_soon_threadsafe(gate.set)


def test_they_share_one_loop_and_no_context(redis):
    with running(child()):
        NoteJob.perform_later(1)
        NoteJob.perform_later(2, note="x")
        NoteJob.perform_bulk([(n,) for n in range(3, 100)])
        wait_until(lambda: len(SEEN) == 99, "all jobs")

    assert {thread for _, _, thread, _, _ in SEEN} == {"sidekick-loop"}
    assert {mine for *_, mine, _ in SEEN} == {"clean"}
    assert len({loop for *_, loop in SEEN}) == 1
    assert (2, "x") in [(number, note) for number, note, *_ in SEEN]
    assert [k for k in redis.keys("sk:*") if not k.startswith(b"sk:push:")] == []


def test_the_loop_never_speaks_to_redis(redis, monkeypatch):
    """Every command that this process sends passes here: jobs done, failed, dropped and pushed, more than there is room for."""
    senders, send = collections.Counter(), redis_py.connection.AbstractConnection.send_packed_command

    def note_and_send(connection, *words, **keys):
        senders[threading.current_thread().name] += 1
        return send(connection, *words, **keys)

    monkeypatch.setattr(redis_py.connection.AbstractConnection, "send_packed_command", note_and_send)
    with running(child()) as worker:
        NoteJob.perform_bulk([(n,) for n in range(300)])
        for name in ("ValueError", "SystemExit"):
            RaisesJob.perform_later(name)
        wait_until(lambda: len(SEEN) == 300 and redis.zcard("retry") == 2, "all jobs")
        NoteJob.perform_later(300)
        wait_until(lambda: len(SEEN) == 301, "one that comes alone")
        wait_until(worker.intake.is_idle, "the end")

    assert {thread for _, _, thread, *_ in SEEN} == {"sidekick-loop"}
    assert senders["sidekick-loop"] == 0
    assert sum(senders.values()) > 10, senders
    assert any(name.startswith("sidekick-job-") for name in senders)


def test_many_wait_at_once_beside_few_threads(sidekick_settings):
    sidekick_settings(ASYNC_CONCURRENCY=50)
    HeldJob.perform_bulk([(n,) for n in range(50)])
    with running(child(concurrency=1)) as worker:
        wait_until(lambda: len(SEEN) == 50, "all to have begun")
        EchoJob.perform_later()
        wait_until(lambda: get_broker().client.llen("echo"), "a job in the thread beside them")
        wait_until(lambda: worker.intake.slots.busy == 50, "its end")
        open_gates(worker)
        wait_until(worker.intake.is_idle, "their end")


def test_their_limit_is_their_own_and_what_waits_is_given_back(redis, sidekick_settings):
    sidekick_settings(ASYNC_CONCURRENCY=2)
    with running(child(concurrency=1)) as worker:
        HeldJob.perform_bulk([(n,) for n in range(6)])
        wait_until(lambda: len(SEEN) == 2, "two to begin")
        wait_until(lambda: redis.llen("queue:default") >= 3, "the rest to be given back")
        open_gates(worker)
        wait_until(lambda: len(SEEN) >= 4, "two more")  # one that begins while the gates open goes through, too
        open_gates(worker)
        wait_until(lambda: len(SEEN) == 6, "the last two")
        open_gates(worker)
        wait_until(worker.intake.is_idle, "their end")

    assert sorted(SEEN) == list(range(6))


@pytest.mark.parametrize("name", ["ValueError", "SystemExit", "CancelledError"])
def test_an_error_of_any_kind_is_the_jobs_failure(redis, name):
    with running(child()):
        RaisesJob.perform_later(name)
        wait_until(lambda: redis.zcard("retry"), "the retry")
        NoteJob.perform_later("alive")
        wait_until(lambda: SEEN, "the next job")

    assert json.loads(redis.zrange("retry", 0, 0)[0])["error_class"] == name


class CancelsItselfJob(BaseJob):
    retry = 0

    async def perform(self, how):
        asyncio.current_task().cancel()
        if how == "raises":
            raise ValueError("no")
        if how == "waits":
            await asyncio.Event().wait()

    def after_death(self, error):
        SEEN.append(type(error).__name__)


@pytest.mark.parametrize(("how", "told"), [("returns", []), ("raises", ["ValueError"]), ("waits", ["CancelledError"])])
def test_a_job_that_cancels_itself_ends_like_any_other(redis, how, told):
    with running(child()) as worker:
        CancelsItselfJob.perform_later(how)
        wait_until(lambda: worker.intake.done == 1 and worker.intake.is_idle(), "its end")

        wait_until(lambda: not any(key.isdigit() for key in redis.hkeys(worker.ownership.inflight)), "the settlement")
        assert told == SEEN
        assert redis.zcard("dead") == len(told)


@pytest.mark.django_db(transaction=True)
class TestOrm:
    def test_synchronous_calls_are_refused_and_hooks_may_use_them(self):
        with running(child()):
            SyncOrmJob.perform_later()
            wait_until(lambda: SEEN, "the hook")

        assert [(SynchronousOnlyOperation, 0)] == SEEN

    def test_asynchronous_calls_work(self):
        with running(child()):
            AsyncOrmJob.perform_later()
            wait_until(lambda: SEEN, "the job")
        assert SEEN == [1]

    def test_model_instances_are_read_before(self):
        class TakesOrderJob(BaseJob):
            async def perform(self, order):
                SEEN.append(order.number)

        TakesOrderJob.perform_later(Order.objects.create(number=9))
        with running(child()):
            wait_until(lambda: SEEN, "the job")
        assert SEEN == [9]


class BackendJob(BaseJob):
    """Note which of the server's processes serves Django's thread; be cut off from it if asked."""

    async def perform(self, cut=False):
        SEEN.append(await sync_to_async(self.ask)(cut))

    def ask(self, cut):
        with connections["postgresql"].cursor() as cursor:
            cursor.execute("SELECT pg_backend_pid()")
            pid = cursor.fetchone()[0]
            if cut:
                cursor.execute("SELECT pg_terminate_backend(pg_backend_pid())")
            return pid


def outcomes(settings, *steps):
    """Run a BackendJob for each truth value, and each callable between them in this thread; return the kinds."""
    executor = Executor(settings)
    execute, finish = executor.build_execute(awaits=True), executor.build_finish()

    async def run(cut):
        raw = json.dumps({"class": BackendJob.name, "args": [cut], "jid": "j", "retry": True, "queue": "q"}).encode()
        return (await finish(execute(Delivery(256, "q", raw), 0.0), time.perf_counter())).kind

    async def run_all():
        kinds = []
        for step in steps:
            if callable(step):
                await asyncio.to_thread(step)
            else:
                kinds.append(await run(step))
        await sync_to_async(lambda: connections["postgresql"].close())()
        return kinds

    return asyncio.run(run_all())


def cut_off_from_outside():
    connection = connections["postgresql"]
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_terminate_backend(%s)", [SEEN[-1]])
        left = "SELECT 1 FROM pg_stat_activity WHERE pid = %s"
        wait_until(lambda: cursor.execute(left, [SEEN[-1]]) or not cursor.fetchall(), "its end")
    connection.close()


@pytest.mark.usefixtures("postgresql_alias")
def test_a_broken_connection_is_replaced_for_the_next_job(sidekick_settings, django_db_blocker):
    with django_db_blocker.unblock():
        assert outcomes(sidekick_settings(), False, True, False) == ["done", "retry", "done"]
    assert SEEN[0] != SEEN[1]


@pytest.mark.usefixtures("postgresql_alias")
def test_a_connection_that_is_cut_while_none_of_them_runs_costs_no_job(sidekick_settings, django_db_blocker, monkeypatch):
    monkeypatch.setattr(job_connections, "IDLE_S", 0.0)
    with django_db_blocker.unblock():
        assert outcomes(sidekick_settings(), False, cut_off_from_outside, False, False) == ["done"] * 3
    assert SEEN[0] != SEEN[1] == SEEN[2]


def test_with_a_layer_for_threads_only_they_run_in_threads(redis, sidekick_settings):
    sidekick_settings(MIDDLEWARE=["tests.worker.test_eventloop.plain_layer"])
    with running(child()):
        NoteJob.perform_later(1)
        wait_until(lambda: len(SEEN) == 2, "the job")

    assert SEEN[0] == "before"
    assert SEEN[1][2].startswith("sidekick-job-")


def plain_layer(call_next):
    def run(job):
        SEEN.append("before")
        return call_next(job)

    return run


def test_threads_alone_by_setting(sidekick_settings):
    sidekick_settings(ASYNC_CONCURRENCY=0)
    with running(child()):
        NoteJob.perform_later(1)
        wait_until(lambda: SEEN, "the job")

    assert SEEN[0][2].startswith("sidekick-job-")


def test_what_outlives_the_shutdown_is_pushed_back_and_cancelled(redis):
    HeldJob.perform_later(1)
    with running(child(timeout_s=0.2)):
        wait_until(lambda: SEEN == [1], "the job to begin")

    assert SEEN == [1, "cancelled 1"]
    assert redis.llen("queue:default") == 1
    assert redis.zcard("retry") == 0
    assert (redis.get("stat:processed"), redis.get("stat:failed")) == (b"1", b"1")  # a run that was cut, once
    assert [k for k in redis.keys("sk:*") if not k.startswith(b"sk:push:")] == []


def test_a_process_ends_while_they_wait(redis):
    from tests.app.jobs import AsyncGateJob

    AsyncGateJob.perform_bulk([(n,) for n in range(5)])
    with worker_process("-p", "1", "-t", "0.5") as worker:
        wait_until(lambda: redis.llen("began") == 5, "all to begin")
        worker.send(signal.SIGTERM)
        assert worker.wait() == 0
    assert redis.llen("queue:default") == 5


def test_expiry_and_log_stand_around_them_too(redis):
    from tests.app.jobs import AsyncGateJob

    AsyncGateJob.set(expires_in=0.000001).perform_later(1)
    job = AsyncGateJob.perform_later(2)
    with worker_process("-p", "0") as worker:
        wait_until(lambda: redis.llen("began"), "the job that is in time")
        redis.rpush("gate", "go")
        worker.wait_for(f"jid={job.jid} queue=default elapsed=")
    assert [text.split(b":")[0] for text in redis.lrange("began", 0, -1)] == [b"2"]
    assert f"jid={job.jid} queue=default: start" in worker.last_output


def test_a_killed_process_names_those_that_ran_and_each_then_runs_alone(redis):
    from tests.app.jobs import AsyncGateJob

    AsyncGateJob.perform_bulk([(n,) for n in range(3)])
    with worker_process("-p", "1") as worker:
        for count in (3, 6, 7, 8, 9):
            wait_until(lambda n=count: redis.llen("began") == n, "all to begin, then one at a time")
            os.kill(int(redis.lindex("began", -1).split(b":")[1]), signal.SIGKILL)
        wait_until(lambda: redis.zcard("dead") == 3, "the burial of all three")
        worker.send(signal.SIGTERM)
        assert worker.wait() == 0

    assert {json.loads(raw)["error_class"] for raw in redis.zrange("dead", 0, -1)} == {"ProcessDied"}


def test_execute_leaves_coroutines_to_the_loop_only_if_asked():
    executor = Executor(get_settings())
    raw = json.dumps({"class": NoteJob.name, "args": [1], "jid": "j"}).encode()

    assert isinstance(executor.build_execute(awaits=True)(Delivery(256, "q", raw), 0.0), Awaiting)
    assert executor.build_execute(awaits=False)(Delivery(256, "q", raw), 0.0).kind == "done"


class LeavesBehindJob(BaseJob):
    """Leave a task behind that raises what no loop survives by itself, or stop the loop."""

    async def perform(self, how):
        loop = asyncio.get_running_loop()
        if how == "stop":
            loop.stop()
            return
        kind = {"SystemExit": SystemExit, "KeyboardInterrupt": KeyboardInterrupt}[how]

        async def raises():
            raise kind

        SEEN.append(loop.create_task(raises()))


@pytest.mark.parametrize("how", ["SystemExit", "KeyboardInterrupt", "stop"])
def test_no_job_ends_the_loop(redis, how):
    with running(child()) as worker:
        LeavesBehindJob.perform_later(how)
        wait_until(lambda: worker.intake.done == 1, "the odd job")
        SEEN.clear()
        NoteJob.perform_bulk([(number,) for number in range(5)])
        wait_until(lambda: len(SEEN) == 5, "the next coroutine jobs")


def test_a_full_loop_holds_up_no_job_of_another_queue_and_does_not_spin(redis, sidekick_settings):
    """600 jobs that never end before one of another queue; then the calls of a quarter of a second are counted."""
    sidekick_settings(ASYNC_CONCURRENCY=2)
    HeldJob.set(queue="first").perform_later(0)
    HeldJob.set(queue="first").perform_later(0)
    for number in range(600):
        redis.lpush("queue:first", json.dumps({"class": HeldJob.name, "args": [number], "jid": f"{number:024}", "retry": True, "queue": "first"}))

    with running(child("first", "second", concurrency=4)) as worker:
        wait_until(lambda: len(GATES) == 2, "the loop to be full")
        EchoJob.set(queue="second").perform_later("other")
        wait_until(lambda: redis.llen("echo"), "the other queue's job")

        before = redis.info("commandstats")["cmdstat_evalsha"]["calls"]
        threading.Event().wait(0.5)
        spent = redis.info("commandstats")["cmdstat_evalsha"]["calls"] - before
        assert spent < 60, spent
        worker.ask_quiet()
        wait_until(lambda: redis.llen("queue:first") == 600, "what has not begun")
        open_gates(worker)


@pytest.mark.parametrize("goes_back", [False, True])
def test_a_flood_of_coroutine_jobs_runs_to_its_end_in_order(redis, sidekick_settings, monkeypatch, goes_back):
    """What waits while a busy machine holds the loop up goes back, and may be passed by what is being fetched then."""
    if not goes_back:
        let_nothing_come_back(monkeypatch)
    sidekick_settings(ASYNC_CONCURRENCY=3)
    NoteJob.perform_bulk([(number,) for number in range(2_000)])

    with running(child(concurrency=1)):
        wait_until(lambda: len(SEEN) == 2_000, "all jobs")

    ran = [seen[0] for seen in SEEN]
    assert (sorted(ran) if goes_back else ran) == list(range(2_000))


def test_the_time_a_job_has_waited_for_a_slot_is_no_part_of_its_run(redis, sidekick_settings, monkeypatch):
    let_nothing_come_back(monkeypatch)  # it waits here, and not in its queue after some milliseconds
    sidekick_settings(ASYNC_CONCURRENCY=1)
    with running(child()) as worker:
        HeldJob.perform_later(0)
        wait_until(lambda: GATES, "the first to begin")
        NoteJob.perform_later(1)
        wait_until(lambda: worker.intake.loop.waiting, "the second to wait")
        threading.Event().wait(0.2)
        open_gates(worker)
        wait_until(lambda: SEEN[-1] != 0, "the second to run")
        wait_until(lambda: NoteJob.name in worker.intake.tally.classes, "it to be counted")

        assert worker.intake.tally.classes[NoteJob.name][2] < 0.1
