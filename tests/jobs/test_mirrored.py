from __future__ import annotations

from dataclasses import replace

import pytest

from django_sidekick import BaseJob
from django_sidekick.conf import build_settings
from django_sidekick.jobs import mirrored
from django_sidekick.jobs.options import problems_of
from django_sidekick.wire import event
from django_sidekick.wire.outcome import Delivery, Outcome
from django_sidekick.wire.payload import parse

LEVELS = {level: type(level, (), {"history": level}) for level in ("finished", "full", "failures", "off")}


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
