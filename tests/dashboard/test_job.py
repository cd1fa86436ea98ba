from __future__ import annotations

import base64
import json
import time
import zlib
from datetime import timedelta
from html import unescape

import pytest
from django.contrib.admin.models import LogEntry
from django.urls import reverse
from django.utils import timezone

from django_sidekick.broker import whereabouts
from django_sidekick.dashboard import job as job_page
from django_sidekick.history.arguments import Arguments
from django_sidekick.models import JobRecord
from tests.app.jobs import AddJob, FailJob
from tests.conftest import free_port, in_time
from tests.dashboard.records import JID, attempt, many, record

pytestmark = pytest.mark.django_db(databases="__all__")
NAME = "tests.app.jobs.AddJob"
TRACEBACK = """Traceback (most recent call last):
  File "/venv/lib/python3.12/site-packages/django/db/utils.py", line 105, in _execute
    return self.cursor.execute(sql)
  File "/srv/shop/orders/jobs.py", line 12, in perform
    order.clean("<b>up</b>")
  File "/usr/lib/python3.12/json/decoder.py", line 3, in decode
    raise error
ValueError: <b>no</b>
"""


def url(jid=JID):
    return reverse("admin:sidekick_job", args=[jid])


def page(client, jid=JID):
    answer = client.get(url(jid))
    assert answer.status_code == 200
    return answer.content.decode()


def job(jid=JID, **fields):
    return json.dumps({"class": NAME, "args": [1], "kwargs": {"note": "x"}, "queue": "low", "jid": jid, "retry": True, **fields})


def buttons(text):
    return [act for act in ("retry_now", "enqueue_now", "run_again", "reschedule", "kill", "delete") if f'data-action="{act}"' in text]


def act(client, action, jid=JID, **fields):
    answer = client.post(url(jid), {"action": action, **fields}, follow=True)
    assert answer.status_code == 200
    return unescape(answer.content.decode())


def moments(answer):
    return [(moment.kind, moment.label) for moment in answer.context["life"]]


def test_the_page_tells_a_jobs_life_from_its_record(redis, history, client, viewer):
    now = timezone.now()
    kept = record(
        database=history, job_class=NAME, state="dead", created_at=now - timedelta(minutes=9), attempts=2,
        enqueued_at=now - timedelta(minutes=8), wait_time=timedelta(seconds=3), run_time=timedelta(milliseconds=12),
        finished_at=now, error_class="ValueError", error_message="<b>no</b>", kwargs={"note": "x"}, worker="host:1:a",
    )  # fmt: skip
    attempt(kept, 1, finished_at=now - timedelta(minutes=5), backtrace=TRACEBACK)
    attempt(kept, 2, finished_at=now, started_at=now - timedelta(seconds=2))

    answer = client.get(url())
    text = answer.content.decode()

    assert moments(answer) == [
        ("created", "Created"), ("enqueued", "Enqueued"), ("try", "Run 1 failed"), ("try", "Run 2 failed"), ("end", "Dead"),
    ]  # fmt: skip
    for shown in ("12 ms", "3.0 s", "host:1:a", "&lt;b&gt;no&lt;/b&gt;", "Not in Redis.", "ran for 2.0 s"):
        assert shown in text
    assert "<b>" not in text
    assert "AddJob.perform_later(1, note='x')" in unescape(text)


def test_own_frames_stand_first_and_the_rest_is_folded(redis, client, viewer):
    attempt(record(), 1, backtrace=TRACEBACK)

    text = unescape(page(client))
    frames, whole = text.split("The whole traceback")

    assert "/srv/shop/orders/jobs.py:12 perform" in frames
    assert 'order.clean("<b>up</b>")' in frames
    assert "site-packages" not in frames and "json/decoder" not in frames
    assert "site-packages" in whole
    assert "data-copy=" in whole


def test_a_job_in_redis_alone_is_told_with_what_its_payload_says(redis, client, operator):
    lines = ["/srv/shop/jobs.py:3:in `perform'", "/venv/lib/python3.12/site-packages/x.py:1:in `y'"]
    packed = base64.b64encode(zlib.compress(json.dumps(lines).encode())).decode()
    now = time.time()
    failed = {"retry_count": 1, "failed_at": int((now - 60) * 1000), "retried_at": int((now - 30) * 1000)}
    redis.zadd("retry", {job(**failed, error_class="E", error_message="oh no", error_backtrace=packed, tags=["blue"]): now + 3700})

    answer = client.get(url())
    text = unescape(answer.content.decode())

    assert "This job is not in the history" in text
    assert moments(answer) == [("try", "First failure"), ("try", "Last failure"), ("next", "Next try")]
    for shown in ("in retries, one of 1", "in 1 hour", "oh no", "blue", "AddJob.perform_later(1, note='x')", lines[0], '"note": "x"'):
        assert shown in text
    assert buttons(text) == ["retry_now", "run_again", "reschedule"]


def test_the_place_in_a_queue_is_told(redis, client, viewer):
    redis.sadd("queues", "low")
    redis.lpush("queue:low", "1", "2", job(), "4")

    assert "in the queue low, number 3 of 4 to run" in page(client)


def test_a_job_that_runs_is_told_with_its_process(redis, client, destroyer):
    redis.zadd("sk:owners", {"host:1:a": 9e9})
    redis.hset("sk:inflight:host:1:a", "257", job())
    redis.sadd("processes", "host:1:a")
    redis.hset("host:1:a:work", "t1", json.dumps({"payload": job(), "run_at": int(time.time()) - 90}))

    text = page(client)

    assert "busy on host:1:a" in text and "1 minute ago" in text
    assert buttons(text) == []


def test_what_was_not_looked_at_is_said(redis, client, viewer, monkeypatch):
    monkeypatch.setattr(whereabouts.seek, "__kwdefaults__", {"within_s": None, "most": 5})
    redis.sadd("queues", "low")
    redis.rpush("queue:low", *map(str, range(9)))

    text = page(client)

    assert "Not found in Redis, which was not looked through to its end" in text
    assert "not among the newest 5 of 9 in the queue low" in text


def test_redis_away_is_said_within_a_second_and_the_record_shown(history, client, viewer, sidekick_settings):
    sidekick_settings(HISTORY_DATABASE=history, REDIS=f"redis://127.0.0.1:{free_port()}/0")
    record(database=history, error_message="kept all the same", error_class="E")

    text = in_time(lambda: page(client), 1)

    assert "is away" in text and "where the job is right now is not known" in text
    assert "kept all the same" in text


def test_missing_tables_are_said_and_redis_shown(redis, client, viewer, sidekick_settings):
    from django.db import connections

    sidekick_settings(HISTORY_DATABASE="other")
    with connections["other"].cursor() as cursor:
        cursor.execute("ALTER TABLE django_sidekick_jobrecord RENAME TO elsewhere")
    redis.zadd("dead", {job(): time.time()})

    text = page(client)

    assert "tables are missing in the database “other”" in text
    assert "dead, one of 1" in text


def test_the_raw_payload_is_shown_letter_by_letter(redis, client, viewer):
    """In the name of a file of macOS an accent is a letter of its own."""
    raw = json.dumps({"class": NAME, "args": ["cafe\u0301.txt"], "jid": JID}, ensure_ascii=False)
    redis.zadd("dead", {raw: 5})

    assert f"<pre>{raw}</pre>" in unescape(page(client))


@pytest.mark.parametrize(
    ("state", "due_in_s", "is_told"),
    [("scheduled", 3600, True), ("processed", -3600, True), ("processed", 3600, False), ("enqueued", 3600, False), ("retry", 3600, False)],
)
def test_a_job_that_did_not_wait_until_its_time_was_not_scheduled_for_it(redis, client, viewer, state, due_in_s, is_told):
    """The time of a next try that was made by hand before it is still in the row."""
    now = timezone.now()
    record(state=state, enqueued_at=now, scheduled_at=now + timedelta(seconds=due_in_s))

    assert ("Scheduled for" in page(client)) == is_told


def test_siblings_have_the_same_class_and_error(redis, history, client, viewer):
    record(database=history, job_class="A", error_class="E", state="dead")
    record("b" * 24, database=history, job_class="A", error_class="E", error_message="same here")
    record("c" * 24, database=history, job_class="A", error_class="F")
    record("d" * 24, database=history, job_class="B", error_class="E")

    text = page(client)

    assert url("b" * 24) in text and "same here" in text
    assert url("c" * 24) not in text and url("d" * 24) not in text


@pytest.mark.parametrize("error", ["E", ""])
def test_siblings_are_looked_for_among_the_newest(redis, history, client, viewer, monkeypatch, error):
    """A page of a job that has no newer sibling does not read all rows that an index finds."""
    monkeypatch.setattr(job_page, "AMONG", 5)
    other = {"job_class": "B"} if error else {"error_class": "F"}
    record(database=history, ago=timedelta(hours=2), job_class="A", error_class=error)
    record("b" * 24, database=history, ago=timedelta(hours=1), job_class="A", error_class=error)
    many(10, database=history, **{"job_class": "A", "error_class": error, **other})
    record("c" * 24, database=history, job_class="A", error_class=error)

    text = page(client)

    assert url("c" * 24) in text and url("b" * 24) not in text


def test_a_page_asks_the_history_a_few_bounded_questions(redis, client, viewer, django_assert_max_num_queries):
    attempt(record(error_class="E"), 1)

    with django_assert_max_num_queries(10):
        page(client)


def test_who_may_only_see_is_offered_nothing_and_gets_403(redis, client, viewer):
    redis.zadd("retry", {job(): 1})

    assert buttons(page(client)) == []
    for action in ("retry_now", "run_again", "kill", "delete", "reschedule"):
        assert client.post(url(), {"action": action, "post": "yes"}).status_code == 403
    assert redis.zcard("retry") == 1


def test_who_may_operate_may_not_destroy(redis, client, operator):
    redis.zadd("retry", {job(): 1})

    assert client.post(url(), {"action": "kill", "post": "yes"}).status_code == 403
    assert client.post(url(), {"action": "delete", "post": "yes"}).status_code == 403


@pytest.mark.parametrize(
    ("key", "offered"),
    [
        ("retry", ["retry_now", "run_again", "reschedule", "kill", "delete"]),
        ("schedule", ["enqueue_now", "run_again", "reschedule", "kill", "delete"]),
        ("dead", ["retry_now", "run_again", "delete"]),
    ],
)
def test_only_acts_that_make_sense_are_offered(redis, client, destroyer, key, offered):
    redis.zadd(key, {job(): time.time()})

    assert buttons(page(client)) == offered


@pytest.mark.parametrize("key", ["retry", "dead"])
def test_retry_now_puts_it_on_its_queue_without_eating_a_retry(redis, client, operator, key):
    redis.zadd(key, {job(retry_count=3): time.time()})

    text = act(client, "retry_now")

    assert "The job was put on its queue." in text
    assert json.loads(redis.lrange("queue:low", 0, -1)[0])["retry_count"] == 2
    assert redis.zcard(key) == 0
    entry = LogEntry.objects.get()
    assert (entry.change_message, entry.object_id, entry.user) == ("retry_now", JID, operator)


def test_enqueue_now_takes_it_out_of_the_schedule(redis, client, operator):
    enqueued = AddJob.set(wait=60, queue="low", enqueue="immediately").perform_later(1)

    act(client, "enqueue_now", enqueued.jid)

    assert (redis.zcard("schedule"), redis.llen("queue:low")) == (0, 1)


def test_reschedule_reads_the_time_in_the_users_zone(redis, client, operator):
    redis.zadd("retry", {job(): 5})

    with timezone.override("Asia/Ho_Chi_Minh"):
        act(client, "reschedule", at="2030-01-02T10:00")

    assert redis.zscore("retry", job()) == 1893553200.0
    assert "Enter the time" in act(client, "reschedule", at="soon")


@pytest.mark.parametrize("action", ["kill", "delete"])
def test_what_destroys_is_asked_first(redis, client, destroyer, action):
    redis.zadd("retry", {job(): 5})

    text = act(client, action)

    assert "Are you sure?" in text and 'name="post" value="yes"' in text
    assert redis.zcard("retry") == 1
    assert not LogEntry.objects.exists()


def test_kill_buries_the_exact_text(redis, client, destroyer):
    redis.sadd("queues", "low")
    redis.rpush("queue:low", job())

    act(client, "kill", post="yes")

    assert redis.zrange("dead", 0, -1) == [job().encode()]
    assert redis.llen("queue:low") == 0


def test_delete_takes_it_out_and_the_record_is_discarded(redis, history, client, destroyer):
    record(database=history, state="retry")
    redis.zadd("retry", {job(): 5})

    text = act(client, "delete", post="yes")

    kept = JobRecord.objects.using(history).get()
    assert "The job was deleted." in text
    assert redis.zcard("retry") == 0
    assert (kept.state, kept.finished_at is not None) == ("discarded", True)


def test_an_act_that_came_too_late_says_so(redis, client, operator):
    record()

    assert "The job is not where this can be done to it." in act(client, "retry_now")
    assert not LogEntry.objects.exists()


def test_a_finished_job_runs_again_under_a_new_jid(redis, history, client, operator):
    record(database=history, job_class=NAME, kwargs={"note": "x"}, tags=["blue"])

    text = act(client, "run_again")

    payload = json.loads(redis.lrange("queue:low", 0, -1)[0])
    assert payload["jid"] != JID and payload["jid"] in text
    assert (payload["class"], payload["args"], payload["kwargs"], payload["tags"]) == (NAME, [1], {"note": "x"}, ["blue"])
    assert LogEntry.objects.get().change_message == "run_again"


def test_what_runs_again_from_redis_keeps_its_options_and_not_its_past(redis, client, operator):
    redis.zadd("dead", {job(retry=3, tags=["t"], backtrace=5, retry_count=2, error_class="E", failed_at=1, sk_encoded=True): 5})

    act(client, "run_again")

    payload = json.loads(redis.lrange("queue:low", 0, -1)[0])
    assert (payload["retry"], payload["tags"], payload["backtrace"], payload["sk_encoded"]) == (3, ["t"], 5, True)
    assert not {"retry_count", "error_class", "failed_at"} & set(payload)
    assert redis.zcard("dead") == 1


@pytest.mark.parametrize("ago_s", [1000, -1000])
def test_what_runs_again_has_as_long_to_begin_as_any_new_job(redis, client, operator, ago_s):
    redis.zadd("dead", {job(expires_in=60, expiry=time.time() - ago_s): 5})

    act(client, "run_again")

    payload = json.loads(redis.lrange("queue:low", 0, -1)[0])
    assert payload["expires_in"] == 60
    assert 0 < payload["expiry"] - time.time() <= 60


def refusing_layer(call_next):
    def refusing(payload):
        return None if payload["args"] == [1] else call_next(payload)

    return refusing


def test_what_a_client_middleware_refuses_does_not_run_again_and_that_is_said(redis, history, client, operator, sidekick_settings):
    sidekick_settings(HISTORY_DATABASE=history, CLIENT_MIDDLEWARE=[f"{__name__}.refusing_layer"])
    record(database=history, job_class=NAME)

    text = act(client, "run_again")

    assert "A client middleware has refused the job" in text
    assert "runs again as" not in text
    assert redis.keys("queue*") == []
    assert not LogEntry.objects.exists()


@pytest.mark.parametrize("args", [None, {"no": "list"}])
def test_arguments_that_were_not_kept_cannot_run_again(redis, client, operator, args):
    record(args=args)

    assert "run_again" not in buttons(page(client))
    assert "arguments are not known" in act(client, "run_again")
    assert redis.llen("queue:low") == 0


@pytest.mark.parametrize("odd", ["a\0b", "caf\udce9.txt", {"\0": 1}])
def test_arguments_that_a_row_has_otherwise_do_not_run_again(redis, history, client, operator, odd):
    record(database=history, job_class=NAME, args=json.loads(Arguments.text_of([[odd]])))

    assert "run_again" not in buttons(page(client))
    assert "arguments are not known" in act(client, "run_again")
    assert redis.llen("queue:low") == 0


def test_redacted_arguments_do_not_run_again(redis, client, operator, monkeypatch):
    monkeypatch.setattr(FailJob, "redact", ("text",), raising=False)
    record(job_class="tests.app.jobs.FailJob", args=["***"])

    assert "arguments are not known" in act(client, "run_again")


def test_a_job_of_an_own_site_leads_to_its_pages(redis, client, viewer):
    record()

    text = client.get(f"/own/django_sidekick/live/job/{JID}/").content.decode()

    assert "/own/django_sidekick/jobrecord/" in text


def live(client):
    news = client.get(url() + "?live=1").json()
    return {part: unescape(html) for part, html in news["parts"].items()}


def test_the_live_parts_follow_the_job_and_its_acts(redis, history, client, destroyer):
    assert "Not in Redis." in live(client)["sk-place"]
    redis.zadd("retry", {job(): time.time() + 600})
    place = live(client)["sk-place"]
    assert "in retries, one of 1, next try" in place
    assert buttons(place) == ["retry_now", "run_again", "reschedule", "kill", "delete"]
    assert "Next try" in live(client)["sk-story"]

    redis.delete("retry")
    kept = record(database=history, state="dead", error_class="ValueError", finished_at=timezone.now(), attempts=2)
    attempt(kept, 2, backtrace=TRACEBACK)
    redis.zadd("dead", {job(): time.time()})
    parts = live(client)
    assert "dead, one of 1" in parts["sk-place"] and buttons(parts["sk-place"]) == ["retry_now", "run_again", "delete"]
    assert "Run 2 failed" in parts["sk-story"] and "sk-state-dead" in parts["sk-story"]
    assert "Traceback" not in "".join(parts.values())


def test_the_page_holds_its_live_parts_as_they_are_polled(redis, client, viewer):
    record(state="retry")
    redis.zadd("retry", {job(): time.time() + 6000})

    text = page(client)

    for part, html in live(client).items():
        assert f'<div id="{part}">{html}</div>' in text


def test_what_has_ended_is_not_looked_for_again_and_again(redis, client, viewer):
    record(state="processed")
    redis.config_resetstat()

    assert "Not in Redis." in live(client)["sk-place"]
    assert "cmdstat_eval" not in redis.info("commandstats")


def test_the_live_parts_ask_the_history_little(redis, client, viewer, django_assert_max_num_queries):
    for number in range(1, 30):
        attempt(record() if number == 1 else JobRecord.objects.get(), number, backtrace=TRACEBACK)

    with django_assert_max_num_queries(8) as queries:
        live(client)

    assert not [query for query in queries if "backtrace" in query["sql"]]


HOSTILE = [
    {"class": ["a"], "args": {"b": 1}, "queue": 5, "tags": "<script>", "retry_count": "x", "failed_at": 1e300},
    {"class": "<script>alert(1)</script>", "args": ["<script>", 10**400, "BIG", "\ud800"], "queue": "a/b\n\"'", "error_class": {}, "error_backtrace": 5},
    {"class": None, "args": None, "kwargs": [1], "queue": None, "tags": [None, {}, [1]], "retry_count": 10**30, "error_message": ["<script>"]},
    {"class": "A", "args": [{"_sk": "model"}, {"_sk": ["x"]}, {"_sk": "datetime", "value": {}}], "kwargs": {"no name": 1}, "error_backtrace": "!!"},
]


@pytest.mark.parametrize("fields", HOSTILE)
@pytest.mark.parametrize("score", [1.0, float("inf"), -1e300, 1e300])
def test_hostile_payloads_are_shown_and_escaped(redis, client, destroyer, fields, score):
    redis.zadd("retry", {json.dumps({**fields, "jid": JID}).replace('"BIG"', "9" * 5000): score})

    text = page(client)

    assert "<script>alert" not in text and "<script>&" not in text
    assert "in retries, one of 1" in text


@pytest.mark.parametrize("fields", HOSTILE)
@pytest.mark.parametrize("action", ["run_again", "retry_now", "kill", "delete"])
def test_acts_on_hostile_payloads_are_no_errors(redis, client, destroyer, fields, action):
    redis.zadd("retry", {json.dumps({**fields, "jid": JID}).replace('"BIG"', "9" * 5000): 1})

    act(client, action, post="yes")


def test_hostile_records_are_shown_and_escaped(redis, history, client, viewer):
    bad = "<script>alert('x')</script>"
    kept = record(
        database=history, job_class=bad, queue=bad, args={"a": bad}, kwargs=[bad], tags=bad, error_class=bad,
        error_message=bad * 9, state="odd", worker=bad, attempts=10**9, run_time=timedelta(days=-9),
    )  # fmt: skip
    attempt(kept, 1, error_class=bad, error_message=bad, backtrace=f'  File "{bad}", line 1, in {bad}\n    {bad}\n' * 9, worker=bad)

    assert "<script>alert" not in page(client)


@pytest.mark.parametrize("jid", ["a b", "ünï", "x" * 300, "%2e%2e", "a/b/c", "\n", "\0", "'\"<>"])
def test_any_jid_has_a_page(redis, client, viewer, jid):
    redis.zadd("dead", {job(jid): 5})

    assert "dead, one of 1" in page(client, jid)


def test_what_was_hidden_by_a_rule_that_is_no_more_does_not_run_again(redis, client, operator):
    record(job_class="gone.jobs.Pay", args=[{"card": ["[redacted]"]}, 5])

    assert "run_again" not in buttons(page(client))
    assert "arguments are not known" in act(client, "run_again")
    assert redis.llen("queue:low") == 0


@pytest.mark.parametrize("odd", ["x", {}, [1]])
def test_an_option_that_is_none_is_said_and_no_job_runs_again(redis, client, operator, odd):
    redis.zadd("dead", {job(expires_in=odd): 5})

    assert "The job cannot run again: " in act(client, "run_again")
    assert redis.llen("queue:low") == 0
    assert not LogEntry.objects.exists()


def test_a_job_that_runs_does_not_run_again_by_a_hand_made_form(redis, client, operator):
    redis.zadd("sk:owners", {"host:1:a": 9e9})
    redis.hset("sk:inflight:host:1:a", "257", job())
    record(job_class=NAME, state="busy")

    assert "The job is not where this can be done to it." in act(client, "run_again")
    assert redis.llen("queue:low") == 0


def test_the_admins_history_of_a_record_is_the_jobs_page_without_asking_the_database(redis, client, viewer, sidekick_settings):
    from django.db import connections

    sidekick_settings(HISTORY_DATABASE="other")
    with connections["other"].cursor() as cursor:
        cursor.execute("ALTER TABLE django_sidekick_jobrecord RENAME TO elsewhere")

    answer = client.get(reverse("admin:django_sidekick_jobrecord_history", args=[JID]))

    assert (answer.status_code, answer["Location"]) == (302, url())


def test_who_may_not_see_jobs_is_led_nowhere(client, staff):
    staff()

    assert client.get(reverse("admin:django_sidekick_jobrecord_history", args=[JID])).status_code == 403
