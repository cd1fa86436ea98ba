from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from django.db import transaction

from django_sidekick import BaseJob, perform_all_later
from django_sidekick.conf import build_settings
from django_sidekick.jobs import mirrored
from django_sidekick.jobs.byhand import inspector_for
from django_sidekick.jobs.options import problems_of
from django_sidekick.wire import codec, event
from django_sidekick.wire.outcome import Delivery, Outcome
from django_sidekick.wire.payload import parse
from tests.app.jobs import NoopJob

LEVELS = {level: type(level, (), {"history": level, "redact": ()}) for level in ("finished", "full", "failures", "off")}


def outcome(kind="done", name="J", jid="a", more="", error=None):
    raw = b'{"class":"%b","args":[],"jid":"%b"%b}' % (name.encode(), jid.encode(), more.encode())
    return Outcome(kind, Delivery(1, "default", raw), parse(raw), 1.0, 1.0, error)


def told(outcomes, classes=None, **keys):
    events_of = mirrored.events_of(build_settings(keys), classes or {})
    return [e.payload["jid"] for e in event.decode(events_of("w", outcomes))]


def test_history_off_makes_nothing_at_all():
    assert mirrored.events_of(build_settings({"HISTORY": "off"}), {"off": LEVELS["off"]}) is None


def test_where_all_is_told_of_nothing_is_asked():
    assert mirrored.events_of(build_settings({}), {"J": BaseJob}) is event.encode


def test_at_level_failures_a_job_is_told_of_from_its_first_failure_on():
    outcomes = [
        outcome(jid="good"),
        outcome("retry", jid="bad", error=ValueError()),
        outcome(jid="good after bad", more=',"retry_count":0'),
        outcome("discarded", jid="dropped"),
        outcome("discarded", jid="dropped for an error", error=ValueError()),
    ]

    assert told(outcomes, HISTORY="failures") == ["bad", "good after bad", "dropped for an error"]


def test_a_class_may_have_a_level_of_its_own_inside_active_jobs_wrapper_too():
    wrapped = ',"wrapped":"off"'
    outcomes = [outcome(name=name, jid=name) for name in LEVELS]
    outcomes += [outcome(name="Sidekiq::ActiveJob::Wrapper", jid="wrapped", more=wrapped), outcome(jid="other")]

    assert told(outcomes, LEVELS) == ["finished", "full", "other"]
    assert told(outcomes, LEVELS, HISTORY="off") == ["finished", "full"]


@pytest.mark.parametrize("share", [0, 0.25, 1])
def test_a_sample_is_a_share_of_the_successes_and_all_failures(share):
    good = [outcome(jid=f"{number:024x}") for number in range(2000)]
    bad = outcome("dead", jid="bad", error=ValueError())

    jids = told([*good, bad], HISTORY_SAMPLE=share)

    assert jids[-1] == "bad"
    assert abs(len(jids) - 1 - 2000 * share) < 150
    assert told([*good, bad], HISTORY_SAMPLE=share) == jids


def test_a_class_that_says_it_wrongly_is_told(monkeypatch):
    class Job(BaseJob):
        history = "all"
        redact = "card"

        def perform(self, card): ...

    assert [problem.split()[0] for problem in problems_of(Job)] == ["history", "redact"]
    Job.history, Job.redact = "full", ("card",)
    assert problems_of(Job) == []
    assert replace(build_settings({}), history="off").history == "off"


def pushes(redis):
    return [e for _, fields in redis.xrange("sk:events") for e in event.decode(fields[b"b"])]


class FullJob(BaseJob):
    history = "full"

    def perform(self, *args): ...


def test_at_level_full_a_push_is_told_of_in_the_same_step(redis, sidekick_settings):
    sidekick_settings(HISTORY="full")
    handle = NoopJob.perform_later(1)
    later = NoopJob.set(wait=60).perform_later(2)
    NoopJob.perform_bulk([(3,), (4,)], spread=timedelta(seconds=60))

    first, second, *bulk = pushes(redis)
    assert (first.kind, first.payload["jid"], first.worker, first.started_at_s) == ("enqueued", handle.jid, "", None)
    assert (second.kind, second.payload["jid"], second.due_at_s) == ("scheduled", later.jid, redis.zscore("schedule", json_of(second)))
    assert [(e.kind, e.due_at_s) for e in bulk] == [("scheduled", redis.zscore("schedule", json_of(e))) for e in bulk]
    assert int(redis.get("sk:events:bytes")) == sum(len(fields[b"b"]) for _, fields in redis.xrange("sk:events"))


class HidingJob(BaseJob):
    history = "full"
    redact = ("card",)

    def perform(self, card): ...


def test_who_pushes_runs_or_moves_a_job_tells_what_its_class_hides(redis, broker):
    handle = HidingJob.perform_later("4111")
    FullJob.perform_later(1)
    HidingJob.set(wait=60).perform_later("4111")
    assert inspector_for(broker, "delete").delete(handle.jid)
    done = outcome(name=HidingJob.name), outcome(name=FullJob.name)
    blob = mirrored.events_of(build_settings({}), {job.name: job for job in (HidingJob, FullJob)})("w", done)

    assert [e.redact for e in pushes(redis)] == [("card",), (), ("card",), ("card",)]
    assert [e.redact for e in event.decode(blob)] == [("card",), ()]


def json_of(told):
    return codec.dumps(told.payload)


@pytest.mark.parametrize(("history", "told"), [("finished", ["FullJob"]), ("off", ["FullJob"]), ("full", ["FullJob", "NoopJob"])])
def test_pushes_of_a_class_at_level_full_are_told_of_by_themselves(redis, sidekick_settings, history, told):
    sidekick_settings(HISTORY=history)
    perform_all_later([FullJob.prepare(1), NoopJob.prepare(2)])

    assert [e.payload["class"].rpartition(".")[2] for e in pushes(redis)] == told
    assert redis.llen("queue:default") == 2


@pytest.mark.django_db(transaction=True)
def test_a_push_after_a_commit_is_told_of_too(redis, sidekick_settings):
    sidekick_settings(HISTORY="full")
    with transaction.atomic():
        NoopJob.perform_later(1)
        assert pushes(redis) == []

    assert len(pushes(redis)) == 1


def test_a_push_into_a_full_stream_is_pushed_and_counted(redis, sidekick_settings):
    sidekick_settings(HISTORY="full", HISTORY_STREAM_MAX_MIB=1)
    redis.set("sk:events:bytes", 2**20)
    redis.xadd("sk:events", {"b": "what waits"})

    NoopJob.perform_bulk([(1,), (2,)])

    assert (redis.llen("queue:default"), redis.xlen("sk:events"), redis.get("sk:events:dropped")) == (2, 1, b"2")


def test_with_throttle_a_push_into_a_full_stream_is_told_of(redis, sidekick_settings):
    sidekick_settings(HISTORY="full", HISTORY_STREAM_MAX_MIB=1, HISTORY_OVERFLOW="throttle")
    redis.set("sk:events:bytes", 2**20)
    redis.xadd("sk:events", {"b": "what waits"})

    NoopJob.perform_bulk([(1,), (2,)])

    assert (len(pushes(redis)), redis.get("sk:events:dropped")) == (2, None)


def test_where_no_class_is_at_level_full_a_push_looks_at_nothing():
    assert mirrored.push_events(build_settings({}), [None], {"J": "finished"}) == []
