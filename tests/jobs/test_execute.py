from __future__ import annotations

import asyncio
import io
import json
import logging
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from django_sidekick import BaseJob, Discard, Retry
from django_sidekick.conf import build_settings
from django_sidekick.exceptions import Shutdown
from django_sidekick.jobs.execute import Executor
from django_sidekick.wire.outcome import Delivery, FollowUp
from django_sidekick.wire.payload import decode_backtrace
from django_sidekick.worker.joblog import JobLog

RAN: list[Any] = []
TOLD: list[Any] = []


class Seen(BaseJob):
    def perform(self, *args, **kwargs):
        RAN.append((self.jid, self.attempt, args, kwargs))


class Raises(BaseJob):
    error: BaseException = ValueError("no")
    answer: Any = None
    exhausted: Any = None

    def perform(self, *args):
        raise type(self).error

    def retry_in(self, count, error):
        if isinstance(self.answer, BaseException):
            raise self.answer
        return self.answer

    def retries_exhausted(self, error):
        if isinstance(self.exhausted, BaseException):
            raise self.exhausted
        return self.exhausted

    def after_death(self, error):
        TOLD.append((self.jid, error))


class Coroutine(BaseJob):
    async def perform(self, number):
        await asyncio.wait({asyncio.ensure_future(asyncio.to_thread(lambda: None))})
        RAN.append(number)


class RubyNamed(BaseJob):
    class_name = "HardJob"

    def perform(self, *args, **kwargs):
        RAN.append((args, kwargs))


@pytest.fixture(autouse=True)
def clean(monkeypatch):
    RAN.clear()
    TOLD.clear()
    for name, value in (("error", ValueError("no")), ("answer", None), ("exhausted", None)):
        monkeypatch.setattr(Raises, name, value)


def payload(job_class, *args, **fields):
    name = job_class if isinstance(job_class, str) else job_class.name
    return {"retry": True, "queue": "q", "args": list(args), "class": name, "jid": "j" * 24, **fields}


def run(job, **keys):
    raw = job if isinstance(job, bytes) else json.dumps(job).encode()
    return Executor(build_settings(keys))(Delivery(256, "q", raw))


def member(outcome):
    return json.loads(outcome.member)


def test_a_good_run_is_done():
    outcome = run(payload(Seen, 1, "a"))

    assert outcome.kind == "done"
    assert RAN == [("j" * 24, 1, (1, "a"), {})]


def test_keyword_arguments_come_from_their_field():
    run(payload(Seen, 1, kwargs={"force": True}))

    assert RAN[0][2:] == ((1,), {"force": True})


def test_the_attempt_counts_runs():
    run(payload(Seen, retry_count=0))
    run(payload(Seen, retry_count=4))

    assert [attempt for _, attempt, _, _ in RAN] == [2, 6]


def test_an_error_is_retried_with_sidekiqs_fields():
    outcome = run(payload(Raises, backtrace=True))

    fields = member(outcome)
    assert outcome.kind == "retry"
    assert (fields["error_class"], fields["error_message"], fields["retry_count"]) == ("ValueError", "no", 0)
    assert 15 <= outcome.at_s - fields["failed_at"] / 1000 <= 25
    assert "in `perform'" in decode_backtrace(fields["error_backtrace"])[0]


@pytest.mark.parametrize("error", [SystemExit(3), KeyboardInterrupt(), GeneratorExit(), asyncio.CancelledError()])
def test_errors_that_end_programs_end_only_the_job(error, monkeypatch):
    monkeypatch.setattr(Raises, "error", error)

    assert run(payload(Raises)).kind == "retry"


def test_shutdown_is_no_failure(monkeypatch):
    monkeypatch.setattr(Raises, "error", Shutdown())

    with pytest.raises(Shutdown):
        run(payload(Raises))


@pytest.mark.parametrize(
    ("fields", "kind"),
    [
        ({"retry": 0}, "dead"),
        ({"retry": 3, "retry_count": 2}, "dead"),
        ({"retry": 3, "retry_count": 1}, "retry"),
        ({"retry": False}, "failed"),
        ({"retry": 0, "dead": False}, "failed"),
    ],
)
def test_the_end_of_all_retries(fields, kind):
    outcome = run(payload(Raises, **fields))

    assert outcome.kind == kind
    assert len(TOLD) == (kind != "retry")


def test_max_retries_is_what_true_means():
    assert run(payload(Raises, retry_count=7), MAX_RETRIES=8).kind == "dead"
    assert run(payload(Raises, retry_count=6), MAX_RETRIES=8).kind == "retry"


@pytest.mark.parametrize(
    ("answer", "kind"), [(100, "retry"), ("kill", "dead"), ("discard", "discarded"), (None, "retry"), (OSError(), "retry")]
)
def test_retry_in_steers(answer, kind, monkeypatch):
    monkeypatch.setattr(Raises, "answer", answer)

    outcome = run(payload(Raises))

    assert outcome.kind == kind
    if answer == 100:
        assert 99 <= outcome.at_s - member(outcome)["failed_at"] / 1000 <= 111


@pytest.mark.parametrize(("exhausted", "kind"), [("discard", "discarded"), (None, "dead"), (OSError(), "dead")])
def test_retries_exhausted_may_keep_a_job_out_of_the_dead_set(exhausted, kind, monkeypatch):
    monkeypatch.setattr(Raises, "exhausted", exhausted)

    assert run(payload(Raises, retry=0)).kind == kind


def test_discard_drops_the_job_and_is_no_failure(monkeypatch):
    monkeypatch.setattr(Raises, "error", Discard("enough"))

    outcome = run(payload(Raises))

    assert (outcome.kind, outcome.error) == ("discarded", None)


@pytest.mark.parametrize("wait", [2, 2.0, timedelta(seconds=2)])
def test_retry_asks_for_its_own_wait(wait, monkeypatch):
    monkeypatch.setattr(Raises, "error", Retry(wait=wait))

    outcome = run(payload(Raises))

    assert outcome.kind == "retry"
    assert abs(outcome.at_s - member(outcome)["failed_at"] / 1000 - 2.0) < 0.01


@pytest.mark.parametrize("wait", [-1, True, "1 hour", float("nan"), float("inf")])
def test_an_odd_wait_is_the_jobs_failure_like_any_other(wait, monkeypatch):
    monkeypatch.setattr(Raises, "wait", wait, raising=False)
    monkeypatch.setattr(Raises, "perform", lambda self, *args: Retry(wait=self.wait))

    outcome = run(payload(Raises))

    assert outcome.kind == "retry"
    assert "wait must be a timedelta or seconds from 0" in member(outcome)["error_message"]


def test_an_unknown_class_is_retried_and_the_app_named():
    outcome = run(payload("shop.jobs.Missing"))

    assert outcome.kind == "retry"
    assert "'shop'" in member(outcome)["error_message"]
    assert member(outcome)["error_class"] == "UnknownJob"


class NeverMade(BaseJob):
    def __init__(self):
        raise OSError("no room")

    def perform(self):
        pass


@pytest.mark.parametrize(
    ("job", "text"),
    [
        (payload("shop.jobs.Missing"), "class=shop.jobs.Missing jid={} queue=q: fail (UnknownJob: No job class is registered as 'shop.jobs.Missing'. Is the app 'shop'"),
        (payload("Sidekiq::ActiveJob::Wrapper", {"job_class": "Gone", "arguments": []}, wrapped="Gone"), "class=Gone jid={} queue=q: fail (UnknownJob"),
        (payload("Sidekiq::ActiveJob::Wrapper", 5), "class=Sidekiq::ActiveJob::Wrapper jid={} queue=q"),
        (payload(NeverMade), "class=tests.jobs.test_execute.NeverMade jid={} queue=q: fail (OSError: no room"),
    ],
)  # fmt: skip
def test_a_job_that_cannot_be_made_is_logged_like_any_other(job, text):
    stream = io.StringIO()
    log = JobLog("text", stream)
    execute = Executor(build_settings({"MIDDLEWARE": [f"{__name__}.mutating_layer"]}), layers=[log.middleware])

    outcome = execute(Delivery(256, "q", json.dumps(job).encode()))

    log.flush()
    start, fail, *_ = stream.getvalue().splitlines()
    assert start.endswith(": start")
    assert text.format("j" * 24).split(": fail")[0] in fail
    assert text.format("j" * 24).split(": fail")[-1] in fail
    assert ": fail (" in fail
    assert outcome.kind == "retry"


@pytest.mark.parametrize("raw", [b"{bad", b"{}", b'{"class":"A"}', b'{"class":[],"args":[]}', b"\xff"])
def test_what_is_no_job_is_buried_as_it_came(raw):
    outcome = run(raw)

    assert (outcome.kind, outcome.member, outcome.payload) == ("dead", raw, None)


@pytest.mark.parametrize("number", [b"1e999", b"-1E+400", b"1" * 100_001], ids=len)
def test_a_job_with_a_number_that_cannot_be_written_again_is_buried_as_it_came(number):
    raw = json.dumps(payload(Raises)).encode().replace(b"[]", b"[%b]" % number)
    outcome = run(raw)

    assert (outcome.kind, outcome.member, outcome.payload) == ("dead", raw, None)


def test_a_number_that_the_interpreter_would_not_print_survives_a_retry():
    number = b"9" * 5000
    outcome = run(json.dumps(payload(Raises)).encode().replace(b"[]", b"[%b]" % number))

    assert outcome.kind == "retry"
    assert b'"args":[%b]' % number in outcome.member


@pytest.mark.parametrize("depth", [*range(800, 1000, 2), 1015])
def test_what_goes_to_retry_has_its_count_however_deep_it_is_nested(depth):
    raw = json.dumps(payload(Raises)).encode().replace(b"[]", b"[" * depth + b"]" * depth)
    outcome = run(raw)

    assert outcome.kind in {"retry", "dead"}
    assert (outcome.member == raw) == (outcome.kind == "dead")
    assert (b'"retry_count":0' in outcome.member) == (outcome.kind == "retry")


@pytest.mark.parametrize("raw", [b"[1,2]", b"7", b'"text"', b"null"])
def test_json_of_another_kind_is_buried_wrapped(raw):
    outcome = run(raw)

    assert outcome.kind == "dead"
    assert (member(outcome)["class"], member(outcome)["args"]) == ("(malformed)", [raw.decode()])


@settings(max_examples=200)
@given(st.binary() | st.dictionaries(st.sampled_from(["class", "args", "retry", "jid", "kwargs", "sk_encoded", "backtrace"]), st.none() | st.integers() | st.text() | st.lists(st.integers())).map(lambda d: json.dumps(d).encode()))
def test_no_payload_ever_raises(raw):
    outcome = Executor(build_settings({}))(Delivery(256, "q", raw))

    assert outcome.kind in {"done", "retry", "dead", "failed"}
    assert (outcome.kind in {"retry", "dead"}) == (outcome.member is not None)


def test_a_coroutine_runs_on_the_loop_its_thread_keeps():
    assert run(payload(Coroutine, 5)).kind == "done"
    assert run(payload(Coroutine, 6)).kind == "done"
    assert RAN == [5, 6]


def test_ruby_names_and_active_jobs_find_their_class():
    run(payload("HardJob", 1))
    inner = {"job_class": "HardJob", "arguments": [2, {"a": 1, "_aj_ruby2_keywords": ["a"]}]}
    run(payload("Sidekiq::ActiveJob::Wrapper", inner, wrapped="HardJob"))

    assert RAN == [((1,), {}), ((2,), {"a": 1})]


def test_a_record_of_rubys_fails_the_job_which_its_hooks_are_told(monkeypatch):
    monkeypatch.setattr(RubyNamed, "after_death", lambda self, error: TOLD.append((self.name, error)))
    inner = {"job_class": "HardJob", "arguments": [{"_aj_globalid": "gid://shop/Order/1"}]}
    outcome = run(payload("Sidekiq::ActiveJob::Wrapper", inner, wrapped="HardJob", retry=0))

    assert (outcome.kind, member(outcome)["error_class"]) == ("dead", "DeserializationError")
    assert "gid://shop/Order/1" in member(outcome)["error_message"]
    assert [name for name, _ in TOLD] == ["HardJob"]
    assert RAN == []


@pytest.mark.parametrize("name", ["Sidekiq::ActiveJob::Wrapper"])
def test_a_malformed_wrapper_is_retried(name):
    assert run(payload(name, 5)).kind == "retry"


def handler(error, context):
    TOLD.append((error, context["queue"]))


def bad_handler(error, context):
    raise OSError("handler")


def test_error_handlers_are_told_and_may_fail():
    paths = [f"{__name__}.bad_handler", f"{__name__}.handler"]

    outcome = run(payload(Raises), ERROR_HANDLERS=paths)

    assert outcome.kind == "retry"
    assert [type(error) for error, _ in TOLD] == [ValueError]


def failing_layer(call_next):
    def layer(job):
        call_next(job)
        raise RuntimeError("layer")

    return layer


def mutating_layer(call_next):
    def layer(job):
        job.payload["args"] = [1, 2, 3]
        job.payload["leak"] = True
        return call_next(job)

    return layer


def test_a_layer_that_fails_fails_the_job():
    outcome = run(payload(Seen), MIDDLEWARE=[f"{__name__}.failing_layer"])

    assert outcome.kind == "retry"
    assert member(outcome)["error_message"] == "layer"


def test_what_a_layer_changes_does_not_reach_the_retry():
    outcome = run(payload(Raises, 9), MIDDLEWARE=[f"{__name__}.mutating_layer"])

    assert member(outcome)["args"] == [9]
    assert "leak" not in member(outcome)


def test_an_expired_job_is_discarded_unless_it_has_begun():
    from django_sidekick.features.expiry import Expiry

    execute = Executor(build_settings({}), features=[Expiry()])

    def kind(**fields):
        return execute(Delivery(256, "q", json.dumps(payload(Seen, **fields)).encode())).kind

    assert kind(expiry=1_000.5) == "discarded"
    assert kind(expiry=99_999_999_999.5) == "done"
    assert kind(expiry=1_000.5, retry_count=0) == "done"
    assert kind(expiry="soon") == "done"


def test_a_features_follow_ups_ride_on_the_outcome():
    from django_sidekick.feature import Feature

    class Counting(Feature):
        def __init__(self):
            self.follow_ups = lambda outcome: [FollowUp("INCR", "count", ())]

    execute = Executor(build_settings({}), features=[Counting()])

    outcome = execute(Delivery(256, "q", json.dumps(payload(Seen)).encode()))
    assert outcome.follow_ups == (FollowUp("INCR", "count", ()),)


def test_records_made_inside_a_job_carry_its_jid(caplog):
    from django_sidekick.jobs.current import JobContext

    context = JobContext()
    records = []

    class Logs(BaseJob):
        def perform(self):
            record = logging.LogRecord("x", 20, "", 1, "m", (), None)
            context.filter(record)
            records.append(record)

    run(payload(Logs))
    outside = logging.LogRecord("x", 20, "", 1, "m", (), None)
    context.filter(outside)

    assert (records[0].jid, records[0].job) == ("j" * 24, Logs.name)
    assert outside.jid == ""


def test_a_retry_speaks_the_times_of_older_sidekiqs_by_setting():
    outcome = run(payload(Raises), WIRE_TIMES="seconds")

    assert type(member(outcome)["failed_at"]) is float
