"""Every act on every page that takes it, sent by hand: who may not is refused, and nothing has changed."""

from __future__ import annotations

import json
import time

import pytest
from django.contrib.admin.models import LogEntry
from django.test import Client
from django.urls import reverse

from django_sidekick.broker.queues import text_name
from django_sidekick.dashboard.acts import ACTS
from django_sidekick.models import JobRecord
from tests.dashboard.live import IDENTITY, beat, enqueue
from tests.dashboard.live import job as waiting
from tests.dashboard.records import record
from tests.dashboard.sets import job

RETRYING, SCHEDULED, DEAD, WAITING = (f"{number:024x}" for number in range(1, 5))
TEXT = waiting(WAITING)
DESTROYING = {"kill", "delete", "clear", "stop"}


def url(name, *args):
    return reverse(f"admin:{name}", args=args)


def of_job(jid):
    return url("sidekick_job", jid)


LIST = url("django_sidekick_jobrecord_changelist")
SETS = {"retries": RETRYING, "scheduled": SCHEDULED, "dead": DEAD}
TAKEN = {
    "retries": ["retry_now", "reschedule", "kill", "delete", "clear"],
    "scheduled": ["enqueue_now", "reschedule", "delete", "clear"],
    "dead": ["retry_now", "delete", "clear"],
}
FORMS = [
    *[(url(f"sidekick_{name}"), act, jid) for name, jid in SETS.items() for act in TAKEN[name]],
    *[(url("sidekick_queues"), act, queue) for act, queue in (("pause", "low"), ("resume", "high"), ("clear", "low"))],
    *[(url("sidekick_queue", "low"), act, text_name(1, TEXT.encode())) for act in ("pause", "clear", "delete")],
    (url("sidekick_queue", "high"), "resume", ""),
    *[(url("sidekick_processes"), act, IDENTITY) for act in ("quiet", "stop")],
    *[(of_job(RETRYING), act, "") for act in ("retry_now", "run_again", "reschedule", "kill", "delete")],
    (of_job(SCHEDULED), "enqueue_now", ""),
    *[(LIST, act, RETRYING) for act in ("retry_now", "run_again", "kill", "delete")],
]  # fmt: skip
forms = pytest.mark.parametrize("form", FORMS, ids=lambda form: f"{form[0].removeprefix('/admin/django_sidekick/')} {form[1]}")
across = pytest.mark.parametrize("across", ["0", "1"], ids=["", "all"])


@pytest.fixture
def state(redis, db):
    """Something for each act to change. Return a function that tells all there is."""
    for number, key in ((1, "retry"), (2, "schedule"), (3, "dead")):
        redis.zadd(key, {job(number): time.time() - 60})
    enqueue(redis, TEXT)
    redis.sadd("paused", "high")
    beat(redis)
    record(RETRYING, state="retry", job_class="HardJob")

    def told():
        logged = list(LogEntry.objects.values_list("change_message", flat=True))
        return {key: redis.dump(key) for key in redis.keys("*")}, list(JobRecord.objects.values()), logged

    return told


def send(client, form, across):
    path, act, chosen = form
    fields = {"action": act, "_selected_action": chosen, "select_across": across, "index": "0", "post": "yes", "at": "2040-01-01 00:00:00"}
    return client.post(path, fields)


def test_no_act_is_left_out():
    assert {act for _, act, _ in FORMS} == set(ACTS)
    assert {act for act, known in ACTS.items() if known.destroys} == DESTROYING


@across
@forms
def test_who_may_only_see_is_refused(state, client, viewer, form, across):
    before = state()

    assert send(client, form, across).status_code == 403
    assert state() == before


@across
@pytest.mark.parametrize("rights", [("operate_jobs", "destroy_jobs"), ()], ids=["acts", "nothing"])
@forms
def test_who_may_not_see_is_refused_whatever_else_he_may(state, client, staff, form, across, rights):
    staff(*rights)
    before = state()

    assert send(client, form, across).status_code == 403
    assert state() == before


@across
@forms
def test_who_may_operate_destroys_nothing_and_who_may_destroy_does_not_operate(state, client, staff, form, across):
    staff("view_jobrecord", "operate_jobs" if form[1] in DESTROYING else "destroy_jobs")
    before = state()

    assert send(client, form, across).status_code == 403
    assert state() == before


@across
@forms
def test_who_is_not_logged_in_is_led_to_the_login(state, client, form, across):
    before = state()

    answer = send(client, form, across)

    assert answer.status_code == 302
    assert answer["Location"].startswith("/admin/login/?next=")
    assert state() == before


@forms
def test_without_the_tokens_of_a_form_nothing_is_done(state, destroyer, form):
    client = Client(enforce_csrf_checks=True)
    client.force_login(destroyer)
    before = state()

    assert send(client, form, "0").status_code == 403
    assert state() == before


@forms
def test_who_may_does_it_by_the_same_form(state, client, staff, form):
    """Or the forms of these tests would prove nothing."""
    staff("view_jobrecord", "destroy_jobs" if form[1] in DESTROYING else "operate_jobs")
    before = state()

    assert send(client, form, "0").status_code == 302
    after = state()
    assert after[0] != before[0]
    assert after[2] == [form[1]]


def test_an_act_that_nobody_knows_is_none(state, client, viewer):
    before = state()

    for path in {path for path, _, _ in FORMS}:
        for act in ("nonsense", "", json.dumps(["kill"])):
            assert send(client, (path, act, RETRYING), "1").status_code in (200, 302)
    assert state() == before
