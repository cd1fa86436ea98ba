from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import re
import threading
import time
from datetime import UTC, datetime, timedelta, timezone

import pytest
from django.db import transaction
from django.db.transaction import TransactionManagementError
from django.test import override_settings

from django_sidekick import BaseJob, EnqueuedJob, perform_all_later, push
from django_sidekick.exceptions import ArgumentError, BrokerUnavailable, EnqueueError
from django_sidekick.jobs import slices
from django_sidekick.signals import enqueue_failed
from tests.app.jobs import AddJob, EchoJob, NoopJob
from tests.app.models import Order

pytestmark = pytest.mark.usefixtures("redis")


def queued(redis, queue="default"):
    return [json.loads(raw) for raw in redis.lrange(f"queue:{queue}", 0, -1)]


def scheduled(redis):
    return [(json.loads(raw), score) for raw, score in redis.zrange("schedule", 0, -1, withscores=True)]


class Classy(BaseJob):
    queue_as = "low"
    retry = 3
    retry_for = timedelta(hours=1)
    retry_queue = "slow"
    tags = ("a", "b")
    backtrace = 5
    dead = False

    def perform(self, x):
        pass


class ByAmount(BaseJob):
    @staticmethod
    def queue_as(order_id, *, amount=0):
        return "big" if amount > 100 else "small"

    def perform(self, order_id, *, amount=0):
        pass


def test_perform_later_pushes_at_once_outside_a_transaction(redis):
    job = NoopJob.perform_later(1, "a")

    assert (job.enqueued, job.error) == (True, None)
    assert queued(redis)[0]["jid"] == job.jid
    assert redis.smembers("queues") == {b"default"}


def test_the_options_of_a_class_travel(redis):
    Classy.perform_later(1)

    job = queued(redis, "low")[0]
    assert (job["retry"], job["retry_for"], job["retry_queue"]) == (3, 3600, "slow")
    assert (job["tags"], job["backtrace"], job["dead"]) == (["a", "b"], 5, False)


def test_set_overrides_for_one_call(redis):
    Classy.set(queue="other", retry=False, tags=["c"], fields={"trace": "t"}).perform_later(1)

    job = queued(redis, "other")[0]
    assert (job["retry"], job["tags"], job["trace"]) == (False, ["c"], "t")


def test_set_refuses_what_no_payload_knows():
    with pytest.raises(TypeError, match="prioritty"):
        NoopJob.set(prioritty=1)


@pytest.mark.parametrize(
    "options",
    [{"retry": -1}, {"retry": "3"}, {"tags": "a"}, {"tags": [1]}, {"queue": ""}, {"queue": 5}, {"backtrace": -1},
     {"retry_for": 0.5}, {"retry_for": 10**9}, {"dead": 1}, {"expires_in": -1}, {"expires_in": True},
     {"wait": -1}, {"wait": "1"}, {"wait": timedelta(-1)}, {"wait_until": 5}, {"wait_until": datetime(2030, 1, 1)},
     {"wait": 1, "wait_until": datetime(2030, 1, 1, tzinfo=UTC)}, {"enqueue": "durable"}, {"enqueue": "bogus"},
     {"enqueue": []}, {"jid": ""}, {"jid": 5}, {"fields": 5}, {"fields": ["a"]}, {"fields": {1: 2}}, {"expires_in": "1"}],
    ids=str,
)  # fmt: skip
def test_a_bad_option_pushes_nothing(redis, options):
    with pytest.raises(ArgumentError) as caught:
        NoopJob.set(**options).perform_later()

    assert caught.value.path == next(iter(options))
    assert redis.keys("*") == []


@pytest.mark.parametrize(
    "fields",
    [{"queue": ""}, {"queue": 5}, {"queue": "low"}, {"class": "X"}, {"args": [1]}, {"kwargs": {}}, {"jid": "x"}, {"retry": 5},
     {"expires_in": 5}, {"at": 1}, {"enqueued_at": 1}, {"sk_encoded": True}, {"x": Ellipsis}, {"x": float("nan")}],
    ids=str,
)  # fmt: skip
def test_fields_of_ones_own_override_nothing(redis, fields):
    with pytest.raises(ArgumentError) as caught:
        NoopJob.set(fields=fields).perform_later()

    assert caught.value.path == f"fields[{next(iter(fields))!r}]"
    assert redis.keys("*") == []


@pytest.mark.parametrize(
    ("call", "path"),
    [
        (lambda: push("X", "abc"), "args"),
        (lambda: push("X", {"a": 1}), "args"),
        (lambda: push("X", (i for i in range(3))), "args"),
        (lambda: push("X", b"abc"), "args"),
        (lambda: push("X", [1], queue=""), "queue"),
        (lambda: push("X", [1], queue="\ud800"), "queue"),
        (lambda: push("X", [1], jid=5), "jid"),
        (lambda: push("X", [1], at=datetime(2030, 1, 1)), "at"),
        (lambda: push("X", [1], at=5), "at"),
        (lambda: push("X", [1], enqueue="bogus"), "enqueue"),
        (lambda: push("X", [1], retry=-1), "retry"),
        (lambda: push("X", [1], trace=object()), "trace"),
        (lambda: push("X", kwargs=[1]), "kwargs"),
        (lambda: push("X", kwargs={1: 2}), "kwargs"),
        (lambda: push("", [1]), "class_name"),
        (lambda: NoopJob.perform_bulk([(1,), "abc"]), "calls[1]"),
        (lambda: NoopJob.perform_bulk([{"a": 1}]), "calls[0]"),
        (lambda: NoopJob.perform_bulk([(1,)], spread=timedelta(seconds=-50)), "spread"),
        (lambda: NoopJob.perform_bulk([(1,)], spread=50), "spread"),
        (lambda: NoopJob.perform_bulk([(1,)], at=datetime(2030, 1, 1)), "at"),
        (lambda: NoopJob.perform_bulk([(1,)], at="noon"), "at"),
        (lambda: NoopJob.perform_bulk([(1,)], at=[datetime(2030, 1, 1)]), "at[0]"),
    ],
)
def test_a_bad_call_pushes_nothing_and_names_what_is_bad(redis, call, path):
    with pytest.raises(ArgumentError) as caught:
        call()

    assert caught.value.path == path
    assert path in str(caught.value) or path == "class_name"
    assert redis.keys("*") == []


@pytest.mark.parametrize("tags", [5, "a", [1], None])
def test_tags_that_are_none_are_said_so(redis, tags):
    with pytest.raises(ArgumentError, match=rf"^tags must be a list of texts, not {re.escape(repr(tags))}\.$"):
        NoopJob.set(tags=tags).perform_later()


@pytest.mark.parametrize("name", ["wait", "wait_until", "fields", "class", "sk_encoded"])
def test_push_does_not_take_what_it_would_not_obey(redis, name):
    with pytest.raises(TypeError, match=name):
        push("X", [1], **{name: 5})

    assert redis.keys("*") == []


def test_one_request_is_one_job(redis):
    request, other = NoopJob.prepare(1), NoopJob.prepare(2)
    with pytest.raises(ArgumentError) as caught:
        perform_all_later([request, other, request])
    assert (caught.value.path, redis.keys("*")) == ("requests[2]", [])

    perform_all_later([request])
    with pytest.raises(ArgumentError, match="passed before"):
        perform_all_later([other, request])
    with pytest.raises(TypeError, match=r"requests\[0\]"):
        perform_all_later([NoopJob])
    assert len(queued(redis)) == 1


def test_the_queue_may_depend_on_the_arguments(redis):
    ByAmount.perform_later(1, amount=500)
    ByAmount.perform_later(2)

    assert [len(queued(redis, name)) for name in ("big", "small")] == [1, 1]


@pytest.mark.parametrize(
    ("args", "kwargs", "expected"),
    [
        ((1,), {}, ([1], None)),
        ((), {"one": 1}, ([1], None)),
        ((1,), {"two": 5}, ([1, 5], None)),
        ((1,), {"note": "x"}, ([1], {"note": "x"})),
        ((1, 2), {"note": "x"}, ([1, 2], {"note": "x"})),
    ],
)
def test_calls_are_normalised(redis, args, kwargs, expected):
    AddJob.perform_later(*args, **kwargs)

    job = queued(redis)[0]
    assert (job["args"], job.get("kwargs")) == expected


@pytest.mark.parametrize(("args", "kwargs"), [((), {}), ((1, 2, 3), {}), ((1,), {"three": 3}), ((1,), {"one": 1})])
def test_a_wrong_call_is_a_type_error_here_and_not_in_the_worker(redis, args, kwargs):
    with pytest.raises(TypeError):
        AddJob.perform_later(*args, **kwargs)

    assert redis.keys("*") == []


def test_a_class_without_perform_is_abstract():
    class Abstract(BaseJob):
        pass

    with pytest.raises(TypeError, match="abstract"):
        Abstract.perform_later()


def test_waits_go_to_the_schedule(redis):
    before = time.time()
    NoopJob.set(wait=timedelta(hours=1)).perform_later()
    NoopJob.set(wait_until=datetime(2100, 1, 1, tzinfo=UTC)).perform_later()

    (first, at), (_, later) = scheduled(redis)
    assert before + 3600 <= at <= time.time() + 3600
    assert later == 4102444800.0
    assert "enqueued_at" not in first
    assert "at" not in first


def test_large_texts_go_in_smaller_slices(redis, monkeypatch):
    monkeypatch.setattr(slices, "SLICE_BYTES", 1200)
    redis.config_resetstat()
    NoopJob.perform_bulk([("x" * 500,)] * 5)

    assert len(queued(redis)) == 5
    assert redis.info("commandstats")["cmdstat_lpush"]["calls"] == 5
    NoopJob.perform_bulk([("x" * 5000,)])
    assert len(queued(redis)) == 6


def test_a_time_that_is_past_goes_straight_to_its_queue(redis):
    NoopJob.set(wait_until=datetime(2020, 1, 1, tzinfo=UTC)).perform_later()

    assert len(queued(redis)) == 1
    assert redis.exists("schedule") == 0


def test_the_ends_of_the_calendar_are_times_too(redis):
    NoopJob.set(wait_until=datetime.min.replace(tzinfo=timezone(timedelta(hours=14)))).perform_later()
    NoopJob.set(wait_until=datetime.max.replace(tzinfo=timezone(-timedelta(hours=12)))).perform_later()

    assert len(queued(redis)) == 1
    assert scheduled(redis)[0][1] == 253402344000.0


@override_settings(USE_TZ=False, TIME_ZONE="Asia/Ho_Chi_Minh")
def test_naive_times_are_local_where_use_tz_is_off(redis):
    NoopJob.set(wait_until=datetime(2100, 1, 1, 7)).perform_later()

    assert scheduled(redis)[0][1] == 4102444800.0


def test_perform_now_runs_here_and_returns(redis):
    assert AddJob.perform_now(1, two=4) == 5
    with pytest.raises(TypeError):
        AddJob.perform_now()
    assert redis.keys("*") == []


class CountedJob(BaseJob):
    expires_in = timedelta(minutes=1)

    async def perform(self, one):
        return one + 1


def test_perform_now_takes_the_options_of_features(redis):
    assert CountedJob.perform_now(1) == 2
    assert CountedJob.set(expires_in=timedelta(hours=1)).perform_now(2) == 3
    assert AddJob.set(expires_in=timedelta(hours=1)).perform_now(1) == 3
    with pytest.raises(ArgumentError):
        AddJob.perform_now(10**100_000)


def test_perform_now_of_a_coroutine_says_what_to_do_in_a_running_loop():
    from asgiref.sync import sync_to_async

    async def view():
        with pytest.raises(RuntimeError, match="sync_to_async"):
            CountedJob.perform_now(1)
        return await sync_to_async(CountedJob.perform_now)(1), await CountedJob().perform(5)

    assert asyncio.run(view()) == (2, 6)


def test_an_expiry_is_written_as_seconds_whoever_gives_it(redis):
    CountedJob.perform_later(1)
    NoopJob.set(expires_in=timedelta(minutes=1)).perform_later()
    push("X", [], expires_in=timedelta(minutes=1))

    for job in queued(redis):
        assert job["expires_in"] == 60
        assert abs(job["expiry"] - job["created_at"] / 1000 - 60) < 5


def test_payloads_over_the_limit_are_refused(redis, sidekick_settings):
    sidekick_settings(MAX_PAYLOAD_BYTES=300)

    with pytest.raises(ArgumentError, match="MAX_PAYLOAD_BYTES"):
        NoopJob.perform_later("x" * 300)
    assert redis.keys("*") == []


@pytest.mark.parametrize(
    ("value", "path"), [(10**100_000, "args[0]"), ({"a": [1, -(10**100_000)]}, "args[0]['a'][1]")], ids=["one", "deep"]
)
def test_a_number_that_is_too_long_is_named_by_its_path(redis, value, path):
    with pytest.raises(ArgumentError, match="100,000 digits") as caught:
        NoopJob.perform_later(value)

    assert caught.value.path == path
    assert redis.keys("*") == []


def test_a_number_that_the_interpreter_would_not_print_is_enqueued(redis):
    NoopJob.perform_later(10**5000)

    assert b"[1" + b"0" * 5000 + b"]" in redis.lrange("queue:default", 0, -1)[0]


def test_perform_all_later_keeps_the_order_and_needs_one_script(redis):
    redis.config_resetstat()
    jobs = perform_all_later([NoopJob.prepare(i) for i in range(100)] + [NoopJob.set(queue="low").prepare(7)])

    assert [job["jid"] for job in reversed(queued(redis))] == [job.jid for job in jobs[:100]]
    assert len(queued(redis, "low")) == 1
    assert redis.info("commandstats")["cmdstat_evalsha"]["calls"] == 1


def test_one_bad_argument_pushes_nothing_of_a_bulk(redis):
    with pytest.raises(ArgumentError):
        perform_all_later([NoopJob.prepare(1), NoopJob.set(expires_in=-1).prepare(2)])
    with pytest.raises(ArgumentError):
        NoopJob.perform_bulk([(1,), (object(),)])

    assert redis.keys("*") == []


@pytest.mark.parametrize("odd", [None, 2**70, "\ud800", datetime(2030, 1, 1, tzinfo=UTC)], ids=["plain", "long", "text", "rich"])
def test_every_way_out_writes_the_same_payload(redis, odd):
    calls = [(1, "a", {"b": [None, 1.5]}), (odd,)]
    NoopJob.perform_bulk(calls)
    perform_all_later([NoopJob.prepare(*call) for call in calls])
    for call in calls:
        NoopJob.perform_later(*call)

    jobs = [list({**job, "jid": "", "created_at": 0, "enqueued_at": 0}.items()) for job in reversed(queued(redis))]
    assert jobs[:2] == jobs[2:4] == jobs[4:]


def test_perform_bulk_schedules_and_spreads(redis):
    at = datetime(2100, 1, 1, tzinfo=UTC)
    NoopJob.perform_bulk([(1,), (2,)], at=[at, at + timedelta(1)])
    NoopJob.perform_bulk([(3,)], at=at)
    NoopJob.perform_bulk([(i,) for i in range(50)], spread=timedelta(hours=10))

    scores = sorted(score for _, score in scheduled(redis))
    assert scores[-3:] == [4102444800.0, 4102444800.0, 4102444800.0 + 86_400]
    assert scores[49] - scores[0] > 3600
    with pytest.raises(ArgumentError):
        NoopJob.perform_bulk([(1,)], at=[at, at])
    with pytest.raises(ArgumentError):
        NoopJob.perform_bulk([(1,)], at=at, spread=timedelta(1))


def test_push_needs_no_class(redis):
    job = push("HardJob", args=[1], queue="ruby", jid="a" * 24, retry=2, custom={"k": 1})

    payload = queued(redis, "ruby")[0]
    assert (payload["class"], payload["jid"], payload["retry"], payload["custom"]) == ("HardJob", job.jid, 2, {"k": 1})
    assert job.jid == "a" * 24


def test_an_expiry_counts_from_the_scheduled_time(redis):
    NoopJob.set(expires_in=60, wait_until=datetime(2100, 1, 1, tzinfo=UTC)).perform_later()

    assert scheduled(redis)[0][0]["expiry"] == 4102444800.0 + 60


@pytest.mark.django_db(transaction=True, databases=["default", "other"])
class TestTransactions:
    def test_a_job_waits_for_the_commit(self, redis):
        with transaction.atomic():
            job = NoopJob.perform_later()
            assert job.jid
            assert job.enqueued is None
            assert queued(redis) == []

        assert job.enqueued is True
        assert len(queued(redis)) == 1

    def test_a_roll_back_takes_the_job_with_it(self, redis):
        with pytest.raises(ZeroDivisionError), transaction.atomic():
            job = NoopJob.perform_later()
            raise ZeroDivisionError

        assert job.enqueued is None
        assert redis.keys("*") == []

    def test_a_rolled_back_savepoint_takes_only_its_own(self, redis):
        with transaction.atomic():
            kept = NoopJob.perform_later("kept")
            with pytest.raises(ZeroDivisionError), transaction.atomic():
                NoopJob.perform_later("lost")
                raise ZeroDivisionError
            with transaction.atomic():
                NoopJob.perform_later("inner")

        assert [job["args"] for job in reversed(queued(redis))] == [["kept"], ["inner"]]
        assert kept.enqueued

    def test_the_database_of_the_call_is_waited_for(self, redis):
        with transaction.atomic(using="other"):
            NoopJob.perform_later("now")
            NoopJob.set(using="other").perform_later("later")
            assert [job["args"] for job in queued(redis)] == [["now"]]

        assert len(queued(redis)) == 2

    def test_immediately_does_not_wait(self, redis):
        with transaction.atomic():
            NoopJob.set(enqueue="immediately").perform_later()
            assert len(queued(redis)) == 1

    def test_autocommit_switched_off_is_djangos_error(self, redis):
        Order.objects.create()
        transaction.set_autocommit(False)
        try:
            with pytest.raises(TransactionManagementError):
                NoopJob.perform_later()
        finally:
            transaction.rollback()
            transaction.set_autocommit(True)

    def test_autocommit_off_in_the_settings_is_the_same_before_the_first_query(self, redis, monkeypatch):
        connection = transaction.get_connection()
        monkeypatch.setitem(connection.settings_dict, "AUTOCOMMIT", False)
        connection.close()
        try:
            with pytest.raises(TransactionManagementError):
                perform_all_later([NoopJob.set(enqueue="immediately").prepare(), NoopJob.prepare()])
            assert redis.keys("*") == []
        finally:
            connection.close()
            monkeypatch.undo()

    def test_a_request_passed_twice_before_the_commit_is_one_job(self, redis):
        request = NoopJob.prepare()
        with transaction.atomic():
            perform_all_later([request])
            perform_all_later([request])

        assert len(queued(redis)) == 1

    def test_what_the_hooks_of_others_take_is_no_absence_of_redis(self, redis, sidekick_settings):
        sidekick_settings(ENQUEUE_TIMEOUT=0.3)
        with transaction.atomic():
            NoopJob.perform_later("before")
            transaction.on_commit(lambda: threading.Event().wait(0.4))
            behind = NoopJob.perform_later("behind")

        assert behind.enqueued, behind.error
        assert len(queued(redis)) == 2

    def test_a_push_of_many_slices_may_take_longer_than_redis_may_be_away(self, redis, sidekick_settings, monkeypatch):
        sidekick_settings(ENQUEUE_TIMEOUT=0.3)
        monkeypatch.setattr(slices, "SLICE", 1)
        monkeypatch.setattr(slices, "push_events", lambda *_: [] if threading.Event().wait(0.1) else [])
        with transaction.atomic():
            NoopJob.perform_bulk([(number,) for number in range(5)])

        assert len(queued(redis)) == 5

    def test_bulk_waits_too(self, redis):
        with transaction.atomic():
            NoopJob.perform_bulk([(1,), (2,)])
            perform_all_later([NoopJob.prepare(3)])
            assert queued(redis) == []

        assert len(queued(redis)) == 3

    def test_aperform_later_sees_the_transaction_of_its_thread(self, redis):
        from asgiref.sync import async_to_sync

        with transaction.atomic():
            job = async_to_sync(NoopJob.aperform_later)(1)
            assert job.enqueued is None

        assert len(queued(redis)) == 1


def test_perform_later_needs_no_database(redis):
    """Without the db fixture, pytest-django refuses every connection."""
    assert NoopJob.perform_later().enqueued


def test_perform_later_works_in_a_coroutine(redis):
    async def view():
        await NoopJob.aperform_later(1)
        return NoopJob.perform_later(2)

    assert asyncio.run(view()).enqueued
    assert len(queued(redis)) == 2


class TestAway:
    """Nothing listens at port 1."""

    @pytest.fixture
    def away(self, settings):
        settings.SIDEKICK = {"REDIS": "redis://127.0.0.1:1/0", "ENQUEUE_TIMEOUT": 0.2}

    @pytest.fixture
    def pauses(self, monkeypatch):
        """What this thread sleeps between attempts: less than the time-out, on a machine that stands still meanwhile too."""
        slept, pause, own = [], time.sleep, threading.get_ident()

        def note(seconds):
            if threading.get_ident() == own:
                slept.append(seconds)
            pause(seconds)

        monkeypatch.setattr(time, "sleep", note)
        return slept

    def test_outside_a_transaction_the_caller_is_told(self, away, pauses):
        with pytest.raises(EnqueueError) as caught:
            NoopJob.perform_later()

        assert caught.value.__cause__ is not None
        assert len(caught.value.jids) == 1
        assert sum(pauses) < 0.2

    @pytest.mark.django_db(transaction=True, databases=["default", "other"])
    @pytest.mark.parametrize("is_open", [False, True])
    def test_the_jobs_of_other_databases_are_named_too(self, away, redis, is_open):
        requests = [NoopJob.set(using=using).prepare(1) for using in ("other", "default", "other")]
        with (
            transaction.atomic(using="other") if is_open else contextlib.nullcontext(),
            pytest.raises(EnqueueError, match="3 jobs were not pushed") as caught,
        ):
            perform_all_later(requests)

        assert set(caught.value.jids) == {request.handle.jid for request in requests}
        assert [(r.handle.enqueued, r.handle.error) for r in requests] == [(False, caught.value)] * 3

    def test_a_request_that_was_not_pushed_is_the_same_job_when_it_is_passed_again(self, away, settings, redis, redis_url):
        request = NoopJob.prepare(1, [2])
        with pytest.raises(EnqueueError) as caught:
            perform_all_later([request])
        before = json.loads(request.push[1])
        settings.SIDEKICK = {"REDIS": redis_url}
        perform_all_later([request])

        (job,) = queued(redis)
        assert (job["jid"],) == caught.value.jids
        assert (job["args"], job["created_at"]) == ([1, [2]], before["created_at"])
        assert list(job) == list(before)

    @pytest.mark.django_db(transaction=True)
    def test_after_a_commit_nothing_is_raised_and_all_is_said(self, away, pauses, caplog):
        told, later = [], []
        receiver = lambda payloads, error, **_: told.append((payloads, error))  # noqa: E731
        enqueue_failed.connect(receiver)
        with caplog.at_level(logging.ERROR, "sidekick"), transaction.atomic():
            jobs = [EchoJob.perform_later("secret"), EchoJob.perform_later("two")]
            transaction.on_commit(lambda: later.append(1))

        assert sum(pauses) < 0.2, "both have one time-out"
        assert [job.enqueued for job in jobs] == [False, False]
        assert jobs[0].error is not None
        assert later == [1]
        assert "secret" in caplog.text
        assert [payloads[0]["args"] for payloads, _ in told] == [["secret"], ["two"]]

    @pytest.mark.django_db(transaction=True)
    def test_after_a_commit_it_is_raised_by_choice(self, settings):
        settings.SIDEKICK = {"REDIS": "redis://127.0.0.1:1/0", "ENQUEUE_TIMEOUT": 0.1, "ENQUEUE_ERRORS": "raise"}
        told, between, later, jobs = [], [], [], []
        receiver = lambda payloads, error, **_: told.append(payloads[0]["args"])  # noqa: E731
        enqueue_failed.connect(receiver)

        with pytest.raises(EnqueueError) as caught, transaction.atomic():
            jobs.append(NoopJob.perform_later("one"))
            with contextlib.suppress(ZeroDivisionError), transaction.atomic():
                NoopJob.perform_later("rolled back")
                raise ZeroDivisionError
            transaction.on_commit(lambda: between.append(1))
            jobs.append(NoopJob.perform_later("two"))
            with contextlib.suppress(ZeroDivisionError), transaction.atomic():
                NoopJob.perform_later("the last call, rolled back too")
                raise ZeroDivisionError
            transaction.on_commit(lambda: later.append(1))

        assert caught.value.jids == tuple(job.jid for job in jobs)
        assert [job.enqueued for job in jobs] == [False, False]
        assert told == [["one"], ["two"]]
        assert (between, later) == ([1], [])  # Django drops the hooks behind one that raises

    @pytest.mark.django_db(transaction=True)
    def test_what_one_commit_has_raised_the_next_does_not(self, settings, redis, redis_url):
        settings.SIDEKICK = {"REDIS": "redis://127.0.0.1:1/0", "ENQUEUE_TIMEOUT": 0.1, "ENQUEUE_ERRORS": "raise"}
        with pytest.raises(EnqueueError), transaction.atomic():
            NoopJob.perform_later()
        settings.SIDEKICK = {"REDIS": redis_url, "ENQUEUE_ERRORS": "raise"}
        with transaction.atomic():
            NoopJob.perform_later()
        with contextlib.suppress(ZeroDivisionError), transaction.atomic():
            NoopJob.perform_later()
            raise ZeroDivisionError

        assert len(queued(redis)) == 1

    @pytest.mark.parametrize("act", ["cancel", "reschedule"])
    def test_a_handle_says_that_redis_is_away(self, away, pauses, act):
        with pytest.raises(BrokerUnavailable, match="away") as caught:
            getattr(EnqueuedJob("a" * 24), act)(**({"wait": 5} if act == "reschedule" else {}))

        assert caught.value.__cause__ is not None
        assert sum(pauses) < 0.2


def test_a_repeated_push_changes_nothing(redis, broker):
    from django_sidekick.broker.broker import run

    keys, words = broker._push_words([("default", b"{}", None), ("default", b"[]", 5.0)])

    assert [run(broker.client, "push", keys, words) for _ in range(3)] == [1, 0, 0]
    assert (redis.llen("queue:default"), redis.zcard("schedule")) == (1, 1)
    assert 0 < redis.ttl(keys[0]) <= 20


def refusing_layer(call_next):
    return lambda payload: None if payload["args"] == ["no"] else call_next({**payload, "seen": True})


def adding_layer(call_next):
    def layer(payload):
        payload["trace"] = "t"
        return call_next(payload)

    return layer


def test_client_middleware_may_change_or_refuse(redis, sidekick_settings):
    sidekick_settings(CLIENT_MIDDLEWARE=[f"{__name__}.adding_layer", f"{__name__}.refusing_layer"])

    assert NoopJob.perform_later("no").enqueued is False
    assert NoopJob.perform_later("yes").enqueued is True
    assert [job["trace"] for job in queued(redis)] == ["t"]


def copying_layer(call_next):
    return lambda payload: call_next({**payload, "queue": "copied", "seen": True, "jid": "c" * 24})


def replacing_layer(call_next):
    return lambda payload: {**call_next(payload), "late": True}


def delaying_layer(call_next):
    return lambda payload: call_next({**payload, "at": 4102444800, "enqueued_at": 1})


def hurrying_layer(call_next):
    def layer(payload):
        payload.pop("at", None)
        return call_next(payload)

    return layer


def answering(answer):
    def layer(call_next):
        def run(payload):
            call_next(payload)
            return {**payload, **answer} if isinstance(answer, dict) else answer

        return run

    return layer


true_layer, list_layer = answering(True), answering([1])
queue_layer, jid_layer, args_layer = answering({"queue": ""}), answering({"jid": 5}), answering({"args": "abc"})
class_layer, at_layer = answering({"class": None}), answering({"at": "noon"})


def test_what_client_middleware_returns_is_what_is_pushed(redis, sidekick_settings):
    sidekick_settings(CLIENT_MIDDLEWARE=[f"{__name__}.replacing_layer", f"{__name__}.copying_layer"])
    handle = NoopJob.perform_later(1)

    job = queued(redis, "copied")[0]
    assert (job["seen"], job["late"], job["jid"], handle.jid) == (True, True, "c" * 24, "c" * 24)
    assert handle.enqueued


def test_client_middleware_may_change_the_time(redis, sidekick_settings):
    sidekick_settings(CLIENT_MIDDLEWARE=[f"{__name__}.delaying_layer"])
    NoopJob.perform_later(1)
    (job, at), *_ = scheduled(redis)
    assert at == 4102444800.0
    assert not {"at", "enqueued_at"} & set(job)

    sidekick_settings(CLIENT_MIDDLEWARE=[f"{__name__}.hurrying_layer"])
    NoopJob.set(wait=60).perform_later(2)
    assert "enqueued_at" in queued(redis)[0]


@pytest.mark.parametrize("kind", ["true", "list", "queue", "jid", "args", "class", "at"])
def test_client_middleware_that_returns_no_payload_pushes_nothing(redis, sidekick_settings, kind):
    sidekick_settings(CLIENT_MIDDLEWARE=[f"{__name__}.{kind}_layer"])

    with pytest.raises((TypeError, ArgumentError), match="middleware" if kind in {"true", "list"} else kind):
        NoopJob.perform_later(1)
    assert redis.keys("*") == []


class TestHandles:
    def test_cancel_finds_a_job_wherever_it_waits(self, redis):
        in_queue = NoopJob.perform_later()
        in_schedule = NoopJob.set(wait=60).perform_later()
        redis.zadd("retry", {json.dumps({"class": "A", "args": [], "jid": "r" * 24}): 5})

        assert [EnqueuedJob(jid).cancel() for jid in (in_queue.jid, in_schedule.jid, "r" * 24)] == [True] * 3
        assert not in_queue.cancel()
        assert (redis.llen("queue:default"), redis.zcard("schedule"), redis.zcard("retry")) == (0, 0, 0)

    def test_reschedule_moves_the_time(self, redis):
        job = NoopJob.set(wait=60).perform_later()

        assert job.reschedule(wait_until=datetime(2100, 1, 1, tzinfo=UTC))
        assert scheduled(redis)[0][1] == 4102444800.0
        assert not NoopJob.perform_later().reschedule(wait=5)
        with pytest.raises(ArgumentError):
            job.reschedule()


@pytest.fixture
def atomic_requests():
    connection = transaction.get_connection()
    connection.settings_dict["ATOMIC_REQUESTS"] = True
    yield
    connection.settings_dict["ATOMIC_REQUESTS"] = False


@pytest.mark.django_db(transaction=True)
@pytest.mark.usefixtures("atomic_requests")
class TestAtomicRequests:
    def test_a_view_enqueues_with_its_requests_commit(self, redis, client):
        jid, enqueued = client.post("/orders/").content.decode().split()

        assert enqueued == "None"
        assert [job["jid"] for job in queued(redis)] == [jid]
        assert Order.objects.count() == 1

    def test_a_view_that_fails_enqueues_nothing(self, redis, client):
        client.raise_request_exception = False

        assert client.post("/orders/?fail").status_code == 500
        assert redis.keys("*") == []
        assert Order.objects.count() == 0


def test_times_of_older_sidekiqs_by_setting(redis, sidekick_settings):
    sidekick_settings(WIRE_TIMES="seconds")
    before = time.time()
    NoopJob.perform_later()
    NoopJob.set(wait=60).perform_later()

    job, (later, score) = queued(redis)[0], scheduled(redis)[0]
    for value in (job["created_at"], job["enqueued_at"], later["created_at"]):
        assert type(value) is float
        assert before <= value <= time.time()
    assert before + 60 <= score <= time.time() + 60


def test_without_features_and_layers_there_is_no_chain(sidekick_settings):
    from django_sidekick.jobs import request

    assert request.client_layers(sidekick_settings(FEATURES=[])).around({"expires_in": 1}) is None


def test_a_features_layers_stand_around_the_payloads_that_carry_its_option(sidekick_settings):
    from django_sidekick.jobs import request

    layers = request.client_layers(sidekick_settings())
    assert layers.around({"class": "A", "args": []}) is None
    assert layers.around({"expires_in": 1}) is not None


def test_a_queue_that_is_no_list_refuses_all_of_a_push_and_each_repeat(redis):
    redis.set("queue:broken", "text")
    jobs = [NoopJob.set(queue=name).prepare() for name in ("default", "broken", "low")]

    for _ in range(2):
        with pytest.raises(EnqueueError, match="queue:broken is a string"):
            perform_all_later(jobs)
    assert redis.keys("*") == [b"queue:broken"]


@pytest.mark.parametrize("key", ["queues", "schedule"])
def test_a_key_of_another_kind_refuses_all_of_a_push_and_each_repeat(redis, key):
    redis.set(key, "text")
    jobs = [NoopJob.prepare(1), NoopJob.set(wait=60).prepare(2)]

    for _ in range(2):
        with pytest.raises(EnqueueError, match=f"{key} is a string"):
            perform_all_later(jobs)
    assert redis.keys("*") == [key.encode()]


def test_a_push_that_has_been_made_is_not_refused_when_it_is_repeated(redis, broker):
    """The transaction for many has pushed them, whatever `queues` is: whoever repeats it must not push them again."""
    redis.set("queues", "text")
    jids = NoopJob.perform_bulk([(n,) for n in range(200)])

    assert {job["jid"] for job in queued(redis)} == set(jids)
    assert redis.llen("queue:default") == 200
