"""What a person does to jobs is in the history: told of in the step that does it, and written by the recorder."""

from __future__ import annotations

import io
import json
import re
import time
from datetime import UTC, datetime

import pytest
from django.contrib.admin.models import LogEntry
from django.core.management import call_command
from django.urls import reverse

from django_sidekick.broker.console import get_console
from django_sidekick.dashboard import errandpage
from django_sidekick.dashboard.emptying import emptying
from django_sidekick.dashboard.errand import Errand
from django_sidekick.dashboard.filters import Filter
from django_sidekick.jobs.registry import LEVEL_BY_CLASS
from django_sidekick.models import JobAttempt, JobRecord
from django_sidekick.wire import codec, event
from django_sidekick.wire.outcome import Delivery, Outcome
from tests.app.jobs import NoopJob
from tests.dashboard.live import enqueue
from tests.dashboard.live import job as waiting
from tests.dashboard.records import record
from tests.dashboard.sets import SETS, confirmed, fill, job, names_in, page, post
from tests.history.conftest import Mirror

AT = {"at": "2096-10-02 07:06:40"}
DUE = datetime(2096, 10, 2, 7, 6, 40, tzinfo=UTC)
ACTS = [
    ("retries", "retry_now", "enqueued"), ("retries", "reschedule", "retry"), ("retries", "kill", "dead"),
    ("retries", "delete", "discarded"), ("scheduled", "enqueue_now", "enqueued"), ("scheduled", "reschedule", "scheduled"),
    ("scheduled", "delete", "discarded"), ("dead", "retry_now", "enqueued"), ("dead", "delete", "discarded"),
]  # fmt: skip


@pytest.fixture
def mirror(redis, db, sidekick_settings):
    sidekick_settings(HISTORY="finished")
    return Mirror("default", redis)


def events(redis):
    return [told for _, fields in redis.xrange("sk:events") for told in event.decode(fields[b"b"])]


def fill_stream(redis):
    redis.set("sk:events:bytes", 2**20)
    redis.xadd("sk:events", {"b": "what waits"})


def jid(number):
    return f"{number:024x}"


def run(mirror, raw, kind="done", error=None, at_s=0.0):
    """A worker's acknowledgement of a job's run."""
    mirror.tell(Outcome(kind, Delivery(1, "low", raw), codec.loads(raw), time.time() - 0.1, 0.1, error, None, at_s))


@pytest.mark.parametrize("count", [1, 250])
@pytest.mark.parametrize(("name", "act", "state"), ACTS)
def test_an_act_on_a_set_is_in_the_history(mirror, redis, client, destroyer, name, act, state, count):
    fill(redis, SETS[name], range(1, count + 1))

    if count == 1:
        post(client, name, act, _selected_action=names_in(page(client, name)), post="yes", **AT)
    else:
        confirmed(client, name, post(client, name, act, select_across="1", **AT))

    told = events(redis)
    assert len(told) == count
    assert int(redis.get("sk:events:bytes")) == sum(len(fields[b"b"]) for _, fields in redis.xrange("sk:events"))
    mirror.write()
    assert mirror.rows.filter(state=state).count() == mirror.rows.count() == count
    row = mirror.row(jid(1))
    assert (row.finished_at is not None) == (state in ("dead", "discarded"))
    assert row.scheduled_at == (DUE if act == "reschedule" else None)
    assert abs(row.changed_at.timestamp() - time.time()) < 60


@pytest.mark.parametrize("name", SETS)
def test_a_clear_of_a_set_is_in_the_history_what_is_no_job_apart(mirror, redis, client, destroyer, name):
    fill(redis, SETS[name], range(1, 151))
    redis.zadd(SETS[name], {b"\xff": 1, b"[]": 1e300, b'{"class":"A","args":[],"jid":7}': 5})

    confirmed(client, name, post(client, name, "clear"))
    mirror.write()

    assert not redis.exists(SETS[name])
    assert mirror.rows.filter(state="discarded").count() == mirror.rows.count() == 150


@pytest.mark.parametrize(("kind", "act", "state"), [("queue", "kill", "dead"), ("queue", "delete", "discarded"), ("retry", "retry_now", "enqueued"), ("schedule", "enqueue_now", "enqueued"), ("schedule", "reschedule", "scheduled"), ("retry", "reschedule", "retry")])
def test_an_act_on_a_jobs_own_page_is_in_the_history(mirror, redis, client, destroyer, kind, act, state):
    if kind == "queue":
        enqueue(redis, job(1))
    else:
        fill(redis, kind, range(1, 2))

    client.post(reverse("admin:sidekick_job", args=[jid(1)]), {"action": act, "post": "yes", **AT})
    mirror.write()

    assert mirror.row(jid(1)).state == state


def test_acts_on_the_lists_of_jobs_and_of_a_queue_are_in_the_history(mirror, redis, client, destroyer):
    enqueue(redis, *map(job, range(1, 6)))
    record(jid(1), state="enqueued")
    queue = reverse("admin:sidekick_queue", args=["low"])

    posted = {"action": "kill", "index": "0", "_selected_action": jid(1), "post": "yes"}
    client.post("/admin/django_sidekick/jobrecord/", posted)
    names = names_in(client.get(queue).content.decode())
    client.post(queue, {"action": "delete", "_selected_action": names[:2], "post": "yes"})
    mirror.write()

    assert dict(mirror.rows.values_list("jid", "state")) == {jid(1): "dead", jid(2): "discarded", jid(3): "discarded"}


@pytest.mark.parametrize(("verb", "state"), [("retry", "enqueued"), ("kill", "dead"), ("delete", "discarded")])
def test_what_the_command_does_is_in_the_history(mirror, redis, verb, state):
    fill(redis, "retry", range(1, 2))

    call_command("sidekick", verb, jid(1), stdout=io.StringIO())
    mirror.write()

    assert mirror.row(jid(1)).state == state


def test_what_a_handle_does_is_in_the_history(mirror, redis, sidekick_settings):
    sidekick_settings(HISTORY="full")
    job = NoopJob.set(wait=60, enqueue="immediately").perform_later()

    assert job.reschedule(wait_until=DUE)
    mirror.write()
    assert (job.record.state, job.record.scheduled_at) == ("scheduled", DUE)
    assert job.cancel()
    mirror.write()

    assert job.record.state == "discarded"
    assert not job.cancel()
    assert redis.xlen("sk:events") == 0


@pytest.mark.parametrize(("level", "told"), [("off", []), ("failures", [2]), ("finished", [1, 2]), ("full", [1, 2])])
def test_a_level_tells_of_an_act_where_it_would_tell_of_the_success(redis, client, destroyer, sidekick_settings, level, told):
    """At level failures a job that has not failed has no row: one that says `enqueued` would say so for ever."""
    sidekick_settings(HISTORY=level)
    fresh = {key: value for key, value in json.loads(job(1)).items() if "error" not in key and key != "retry_count"}
    redis.zadd("schedule", {json.dumps(fresh): 1, job(2): 2})

    confirmed(client, "scheduled", post(client, "scheduled", "enqueue_now", select_across="1"))

    assert redis.llen("queue:low") == 2
    assert [int(told.payload["jid"], 16) for told in events(redis)] == told
    assert bool(redis.keys("sk:events*")) == bool(told)


def test_what_a_sample_leaves_out_is_left_out_of_acts_too(redis, client, destroyer, sidekick_settings):
    sidekick_settings(HISTORY_SAMPLE=0.0)
    raw = {key: value for key, value in json.loads(job(1)).items() if key != "retry_count"}
    redis.zadd("schedule", {json.dumps(raw): 1, job(2): 2})

    confirmed(client, "scheduled", post(client, "scheduled", "delete", select_across="1"))

    assert [int(told.payload["jid"], 16) for told in events(redis)] == [2]


@pytest.mark.parametrize(("setting", "own", "told"), [("off", "finished", [1]), ("finished", "off", [2]), ("failures", "full", [1, 2])])
def test_a_class_may_have_a_level_of_its_own(redis, client, destroyer, sidekick_settings, monkeypatch, setting, own, told):
    sidekick_settings(HISTORY=setting)
    monkeypatch.setitem(LEVEL_BY_CLASS, "Own", own)
    redis.zadd("retry", {job(1, **{"class": "Own"}): 1, job(2): 2})

    confirmed(client, "retries", post(client, "retries", "kill", select_across="1"))

    assert [int(told.payload["jid"], 16) for told in events(redis)] == told
    assert redis.zcard("dead") == 2


def test_into_a_full_stream_jobs_move_all_the_same_and_their_events_are_counted(mirror, redis, client, destroyer, sidekick_settings):
    sidekick_settings(HISTORY_STREAM_MAX_MIB=1)
    fill_stream(redis)
    fill(redis, "retry", range(1, 251))

    confirmed(client, "retries", post(client, "retries", "retry_now", select_across="1"))

    assert redis.llen("queue:low") == 250
    assert (redis.xlen("sk:events"), int(redis.get("sk:events:dropped"))) == (1, 250)


def test_with_throttle_no_event_of_an_act_is_dropped(mirror, redis, client, destroyer, sidekick_settings):
    sidekick_settings(HISTORY_STREAM_MAX_MIB=1, HISTORY_OVERFLOW="throttle")
    fill_stream(redis)
    fill(redis, "retry", range(1, 4))

    confirmed(client, "retries", post(client, "retries", "retry_now", select_across="1"))

    assert (len(events(redis)), redis.get("sk:events:dropped")) == (3, None)


def test_what_was_gone_is_neither_told_of_nor_counted_as_dropped(mirror, redis, client, destroyer, sidekick_settings):
    sidekick_settings(HISTORY_STREAM_MAX_MIB=1)
    fill_stream(redis)
    raws = fill(redis, "retry", range(1, 11))
    names = names_in(page(client, "retries"))
    redis.zrem("retry", *raws[:5])

    post(client, "retries", "retry_now", _selected_action=names)

    assert int(redis.get("sk:events:dropped")) == 5


@pytest.mark.parametrize("key", ["sk:events", "sk:events:bytes", "sk:events:dropped"])
def test_keys_of_the_stream_that_hold_something_else_keep_no_job(mirror, redis, client, destroyer, key):
    redis.hset(key, "a", "b")
    fill(redis, "retry", range(1, 4))

    confirmed(client, "retries", post(client, "retries", "retry_now", select_across="1"))

    assert (redis.llen("queue:low"), redis.zcard("retry")) == (3, 0)


def test_a_dead_job_that_is_revived_ends_as_processed_and_keeps_its_attempts(mirror, redis, client, operator):
    first, last = job(1, retry_count=0), job(1, retry_count=1)
    run(mirror, first, "retry", ValueError("one"), time.time())
    run(mirror, last, "dead", ValueError("two"))
    redis.zadd("dead", {last: time.time()})
    mirror.write()
    assert mirror.row(jid(1)).state == "dead"

    post(client, "dead", "retry_now", _selected_action=names_in(page(client, "dead")))
    mirror.write()
    assert (mirror.row(jid(1)).state, mirror.row(jid(1)).finished_at) == ("enqueued", None)
    run(mirror, redis.rpop("queue:low"))
    mirror.write()

    row = mirror.row(jid(1))
    assert (row.state, row.error_class, row.finished_at is None) == ("processed", "", False)
    attempts = JobAttempt.objects.filter(record=row).values_list("error_message", flat=True)
    assert list(attempts) == ["one", "two", ""]


def test_the_success_of_a_job_that_died_at_its_first_failure_is_an_attempt_too(mirror, redis, client, operator):
    """A retry by hand takes one off its count, which is below nought then."""
    run(mirror, waiting(jid=jid(1)).encode(), "dead", ValueError("one"))
    redis.zadd("dead", {job(1, retry_count=0): time.time()})

    post(client, "dead", "retry_now", _selected_action=names_in(page(client, "dead")))
    run(mirror, redis.rpop("queue:low"))
    mirror.write()

    assert mirror.row(jid(1)).state == "processed"
    assert list(mirror.attempts.values_list("error_message", flat=True)) == ["one", ""]


@pytest.mark.parametrize("is_recorded", [True, False])
def test_a_deleted_job_is_discarded_at_once_and_the_event_says_the_same(redis, db, client, destroyer, sidekick_settings, is_recorded):
    sidekick_settings(HISTORY="finished" if is_recorded else "off")
    mirror = Mirror("default", redis)
    record(jid(1), state="retry")
    fill(redis, "retry", range(1, 2))

    client.post(reverse("admin:sidekick_job", args=[jid(1)]), {"action": "delete", "post": "yes"})
    told = [told.at_s for told in events(redis)]
    before = JobRecord.objects.values("state", "finished_at", "changed_at", "queue").get()
    mirror.write()

    assert before["state"] == "discarded"
    assert before["finished_at"] == before["changed_at"]
    assert JobRecord.objects.values("state", "finished_at", "changed_at", "queue").get() == before
    assert told == ([before["changed_at"].timestamp()] if is_recorded else [])


def test_a_record_that_is_newer_than_the_deletion_stays(redis, db, client, destroyer, sidekick_settings):
    sidekick_settings(HISTORY="finished")
    kept = record(jid(1), state="processed")
    JobRecord.objects.update(changed_at=datetime(2096, 1, 1, tzinfo=UTC))
    enqueue(redis, waiting(jid=kept.jid))

    client.post(reverse("admin:sidekick_job", args=[jid(1)]), {"action": "delete", "post": "yes"})

    assert JobRecord.objects.get().state == "processed"
    assert redis.llen("queue:low") == 0


QUEUE = reverse("admin:sidekick_queue", args=["low"])
QUEUES = reverse("admin:sidekick_queues")


def cleared(client, url, **fields):
    """Clear a queue, the pages of progress included. Return how many there were."""
    answer, turns = client.post(url, {"action": "clear", "post": "yes", "_selected_action": "low", **fields}), 0
    while answer.status_code == 200:
        assert "data-continue" in (html := answer.content.decode())
        token = re.search('name="errand" value="([^"]+)"', html)[1]
        answer, turns = client.post(url, {"action": "clear", "post": "yes", "errand": token}), turns + 1
    return turns


@pytest.mark.parametrize("url", [QUEUE, QUEUES])
def test_a_cleared_queue_is_in_the_history_and_many_jobs_are_done_with_progress(mirror, redis, client, destroyer, monkeypatch, url):
    monkeypatch.setattr(errandpage, "TURN_S", 0.001)
    monkeypatch.setattr(errandpage, "MANY", 100)
    record(jid(1), state="enqueued")
    enqueue(redis, *map(job, range(1, 501)), b"no job", b"no job", b"[]")
    enqueue(redis, job(900), queue="high")

    assert cleared(client, url) > 1
    mirror.write()

    assert redis.smembers("queues") == {b"high"}
    assert redis.llen("queue:low") == 0
    assert mirror.rows.filter(state="discarded").count() == mirror.rows.count() == 500
    entry = LogEntry.objects.get()
    assert (entry.change_message, entry.object_repr) == ("clear", "queue low: 503")


def test_what_is_pushed_while_a_queue_is_cleared_stays(mirror, redis, client, destroyer, monkeypatch):
    enqueue(redis, *map(job, range(1, 51)))
    console = get_console()
    errand = Errand("queue:low", "clear", "1", Filter(), time.time() - 1, 0.0, 50)
    walk = emptying(console, "low", errand)

    next(walk)
    for _ in range(20):
        redis.rpop("queue:low")
        redis.lpush("queue:low", waiting(jid="n" * 24))
    *_, errand = walk

    assert (errand.done, errand.is_over) == (30, True)
    assert redis.llen("queue:low") == 20
    assert redis.smembers("queues") == {b"low"}
    told = events(redis)
    assert (len(told), {told.kind for told in told}) == (30, {"discarded"})


def test_a_clear_that_begins_again_from_an_old_form_takes_nothing_that_came_later(mirror, redis, client, destroyer):
    enqueue(redis, *map(job, range(1, 51)))
    errand = Errand("queue:low", "clear", str(destroyer.pk), Filter(), time.time() - 1, 0.0, 50)
    assert cleared(client, QUEUE, errand=errand.token()) == 0
    assert redis.llen("queue:low") == 0
    enqueue(redis, waiting())

    cleared(client, QUEUE, errand=errand.token())
    post_to_another = client.post(reverse("admin:sidekick_queue", args=["high"]), {"action": "clear", "errand": errand.token()})
    client.post(QUEUES, {"action": "pause", "errand": errand.token()})

    assert post_to_another.status_code == 302
    assert (redis.llen("queue:low"), redis.exists("paused")) == (1, 0)


def test_an_empty_queue_is_forgotten_and_a_key_of_another_type_stays(mirror, redis, client, destroyer):
    redis.sadd("queues", "low", "odd")
    redis.set("queue:odd", "no list")

    cleared(client, QUEUE)
    cleared(client, reverse("admin:sidekick_queue", args=["odd"]))

    assert redis.smembers("queues") == {b"odd"}
    assert redis.get("queue:odd") == b"no list"


def test_a_clear_into_a_full_stream_clears_and_counts(mirror, redis, client, destroyer, sidekick_settings):
    sidekick_settings(HISTORY_STREAM_MAX_MIB=1)
    fill_stream(redis)
    enqueue(redis, *map(job, range(1, 251)))

    cleared(client, QUEUE)

    assert (redis.llen("queue:low"), int(redis.get("sk:events:dropped"))) == (0, 250)
