"""Acts on the jobs of a set that somebody chose: what each does to Redis, and what is said of it."""

from __future__ import annotations

import json
import threading
import time
from datetime import datetime
from zoneinfo import ZoneInfo

import pytest
from django.contrib.admin.models import LogEntry
from django.db import connection
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from tests.dashboard.sets import SETS, confirmed, fill, job, messages_of, names_in, page, post
from tests.golden.test_golden import assert_same_keys, sample, write

PAIRS = sorted(SETS.items())


@pytest.mark.parametrize(("case", "action", "more"), [("api_retry", "retry_now", {}), ("api_kill", "kill", {"post": "yes"}), ("api_reschedule", "reschedule", {"at": "2096-10-02 07:06:40"})])
def test_an_act_leaves_what_sidekiq_leaves(redis, client, destroyer, case, action, more):
    wanted = sample(case)
    write(redis, wanted["before"])
    (name,) = names_in(page(client, "retries"))

    post(client, "retries", action, _selected_action=[name], **more)

    moved = {"retry", "dead", "schedule", "queues"}
    assert_same_keys(redis, {k: v for k, v in wanted["keys"].items() if k in moved or k.startswith("queue:")})
    if action == "reschedule":
        assert [score for _, score in redis.zrange("retry", 0, -1, withscores=True)] == [4_000_000_000.0]


@pytest.mark.parametrize("name", ["retries", "dead"])
def test_retry_now_takes_one_off_the_count_and_stamps(redis, client, operator, name):
    raw = job(1, args=[12345678901234567890, {}, []], odd=[])
    redis.zadd(SETS[name], {raw: 5, job(2): 6})

    post(client, name, "retry_now", _selected_action=[f"{1:024x}"])

    payload = json.loads(redis.lindex("queue:low", 0))
    assert payload.pop("retry_count") == 1
    assert abs(payload.pop("enqueued_at") / 1000 - time.time()) < 60
    assert payload == {k: v for k, v in json.loads(raw).items() if k not in ("retry_count", "enqueued_at")}
    assert redis.zrange(SETS[name], 0, -1) == [job(2)]
    assert redis.smembers("queues") == {b"low"}


def test_enqueue_now_keeps_the_count(redis, client, operator):
    redis.zadd("schedule", {job(1): 5_000_000_000})

    post(client, "scheduled", "enqueue_now", _selected_action=names_in(page(client, "scheduled")))

    assert json.loads(redis.lindex("queue:low", 0))["retry_count"] == 2
    assert redis.zcard("schedule") == 0


def test_kill_buries_the_exact_text_now_and_cuts_the_dead_set(redis, client, destroyer, sidekick_settings):
    sidekick_settings(DEAD_MAX_JOBS=3)
    now = time.time()
    redis.zadd("dead", {job(number): now - 10 + number for number in range(1, 6)})
    odd = b'{"jid" : "x", "args":[], "class":"A"}'
    redis.zadd("retry", {odd: 5})

    answer = post(client, "retries", "kill", _selected_action=["x"])
    assert redis.zcard("dead") == 5
    confirmed(client, "retries", answer)

    assert redis.zrange("dead", 0, -1) == [job(5), odd]
    assert abs(redis.zscore("dead", odd) - time.time()) < 60
    assert redis.zcard("retry") == 0


@pytest.mark.parametrize(("name", "key"), PAIRS)
def test_delete_asks_first_with_the_number_and_takes_the_chosen_only(redis, client, destroyer, name, key):
    fill(redis, key, range(1, 6))
    chosen = names_in(page(client, name))[1:3]

    answer = post(client, name, "delete", _selected_action=chosen)
    assert "Delete (2)" in answer.content.decode()
    assert redis.zcard(key) == 5
    assert LogEntry.objects.count() == 0
    confirmed(client, name, answer)

    left = redis.zcard(key)
    assert left == 3
    assert "2 jobs were deleted." in messages_of(client, name)
    (entry,) = LogEntry.objects.all()
    assert (entry.change_message, entry.user) == ("delete", destroyer)
    assert entry.object_repr.endswith(": 2")


@pytest.mark.parametrize("name", ["retries", "scheduled"])
def test_reschedule_reads_the_time_in_the_users_zone(redis, client, operator, name):
    raw = job(1)
    redis.zadd(SETS[name], {raw: 5})

    with timezone.override(ZoneInfo("Asia/Ho_Chi_Minh")):
        post(client, name, "reschedule", _selected_action=names_in(page(client, name)), at="2030-05-06T07:08")

    wanted = datetime(2030, 5, 6, 7, 8, tzinfo=ZoneInfo("Asia/Ho_Chi_Minh")).timestamp()
    assert redis.zrange(SETS[name], 0, -1, withscores=True) == [(raw, wanted)]


@pytest.mark.parametrize("at", ["", "soon", "0001-01-01 00:00", "9999-12-31 23:59:59", "2030-13-01"])
def test_a_time_that_is_none_changes_nothing_or_is_one(redis, client, operator, at):
    redis.zadd("retry", {job(1): 5})

    post(client, "retries", "reschedule", _selected_action=names_in(page(client, "retries")), at=at)

    assert redis.zcard("retry") == 1
    if not at.startswith(("0001", "9999")):
        assert redis.zscore("retry", job(1)) == 5
        assert "Enter the time" in messages_of(client, "retries")


@pytest.mark.parametrize(("name", "action"), [("retries", "retry_now"), ("scheduled", "enqueue_now"), ("dead", "retry_now"), ("retries", "kill"), ("dead", "delete")])
def test_the_second_time_nothing_happens_and_that_is_said(redis, client, destroyer, name, action):
    fill(redis, SETS[name], range(1, 4))
    chosen = names_in(page(client, name))
    post(client, name, action, _selected_action=chosen, post="yes")
    before = {key: redis.dump(key) for key in redis.keys("*")}
    messages_of(client, name)

    post(client, name, action, _selected_action=chosen, post="yes")

    assert {key: redis.dump(key) for key in redis.keys("*")} == before
    assert "3 jobs were not there any more." in messages_of(client, name)
    assert LogEntry.objects.count() == 1


def test_one_job_is_logged_by_its_jid(redis, client, operator):
    redis.zadd("retry", {job(1): 5})

    post(client, "retries", "retry_now", _selected_action=names_in(page(client, "retries")))

    (entry,) = LogEntry.objects.all()
    assert (entry.object_id, entry.object_repr) == (f"{1:024x}", f"HardJob {1:024x}")
    assert "1 job was put on its queue." in messages_of(client, "retries")


def test_the_answer_leads_back_to_the_list_as_it_was_seen(redis, client, operator):
    redis.zadd("retry", {job(1): 5})

    answer = post(client, "retries", "retry_now", "?q=Hard&p=1", _selected_action=[f"{1:024x}"])

    assert answer.headers["Location"] == reverse("admin:sidekick_retries") + "?q=Hard&p=1"


@pytest.mark.parametrize(("name", "key"), PAIRS)
@pytest.mark.parametrize("action", ["retry_now", "enqueue_now", "reschedule", "kill", "delete", "clear", "pause", "nonsense", ""])
def test_who_may_only_see_changes_nothing_by_a_hand_made_form(redis, client, viewer, name, key, action):
    redis.zadd(key, {job(1): 5})

    answer = client.post(reverse(f"admin:sidekick_{name}"), {"action": action, "_selected_action": [f"{1:024x}"], "select_across": "1", "post": "yes", "at": "2030-01-01"})

    assert answer.status_code == (302 if action in ("nonsense", "") else 403)
    assert redis.zrange(key, 0, -1, withscores=True) == [(job(1), 5.0)]
    assert redis.keys() == [key.encode()]
    assert LogEntry.objects.count() == 0


@pytest.mark.parametrize("action", ["kill", "delete", "clear"])
def test_who_may_operate_destroys_nothing(redis, client, operator, action):
    redis.zadd("retry", {job(1): 5})

    answer = client.post(reverse("admin:sidekick_retries"), {"action": action, "_selected_action": [f"{1:024x}"], "post": "yes"})

    assert answer.status_code == 403
    assert redis.zcard("retry") == 1
    html = page(client, "retries")
    assert 'data-action="retry_now"' in html
    assert f'data-action="{action}"' not in html


@pytest.mark.parametrize(("name", "missing"), [("dead", "kill"), ("dead", "reschedule"), ("scheduled", "retry_now"), ("scheduled", "kill"), ("retries", "enqueue_now")])
def test_an_act_that_is_not_the_pages_is_none(redis, client, destroyer, name, missing):
    redis.zadd(SETS[name], {job(1): 5})

    post(client, name, missing, _selected_action=[f"{1:024x}"], post="yes", at="2030-01-01")

    assert redis.zrange(SETS[name], 0, -1, withscores=True) == [(job(1), 5.0)]


def test_nothing_chosen_is_said(redis, client, operator):
    redis.zadd("retry", {job(1): 5})

    post(client, "retries", "retry_now")

    assert "Select the jobs that are meant." in messages_of(client, "retries")
    assert redis.zcard("retry") == 1


def test_what_is_no_job_stays_where_it_is_but_can_be_deleted(redis, client, destroyer):
    redis.zadd("dead", {b"\xff no json": 5, b"[1]": 6, job(1): 7})
    chosen = names_in(page(client, "dead"))

    post(client, "dead", "retry_now", _selected_action=chosen)
    assert redis.zrange("dead", 0, -1) == [b"\xff no json", b"[1]"]
    said = messages_of(client, "dead")
    assert "1 job was put on its queue." in said
    assert "2 jobs stay" in said

    post(client, "dead", "delete", _selected_action=chosen, post="yes")
    assert redis.zcard("dead") == 0


def test_a_queue_whose_key_is_no_list_costs_no_job(redis, client, operator):
    redis.set("queue:low", "odd")
    redis.zadd("retry", {job(1): 5, job(2, queue="high"): 6})

    post(client, "retries", "retry_now", _selected_action=names_in(page(client, "retries")))

    assert redis.zrange("retry", 0, -1) == [job(1)]
    assert redis.llen("queue:high") == 1
    assert "1 job stays" in messages_of(client, "retries")


@pytest.mark.parametrize("score", [float("inf"), float("-inf"), 1e300, 0.1 + 0.2, -0.0, 1_795_408_310.123457])
def test_any_score_names_its_job(redis, client, destroyer, score):
    redis.zadd("retry", {job(1): score, job(2): 5})
    chosen = [name for name in names_in(page(client, "retries")) if not name.startswith("5.0|")]

    post(client, "retries", "delete", _selected_action=chosen, post="yes")

    assert redis.zrange("retry", 0, -1) == [job(2)]


def test_jobs_of_one_time_are_told_apart_however_many(redis, client, destroyer):
    redis.zadd("schedule", dict.fromkeys((job(number) for number in range(3500)), 5))
    html = page(client, "scheduled", p=30)
    chosen = names_in(html)[:2]

    post(client, "scheduled", "delete", _selected_action=chosen, post="yes")

    assert redis.zcard("schedule") == 3498
    assert not set(chosen) & set(names_in(page(client, "scheduled", p=30)))


@pytest.mark.parametrize("name", ["", "|", "x|y", "nan|" + "a" * 24, "1|" + "a" * 24, "\ud800".encode("utf-8", "replace").decode(), "'\"<>", "1.0|x|" + "b" * 24])
def test_a_name_that_is_nobodys_finds_nobody(redis, client, destroyer, name):
    redis.zadd("retry", {job(1): 1, b"no json": 2, b'{"jid":["x"]}': 3})

    post(client, "retries", "delete", _selected_action=[name], post="yes")

    assert redis.zcard("retry") == 3
    assert "was not there any more" in messages_of(client, "retries")


@pytest.mark.django_db(transaction=True)
def test_two_people_who_retry_the_same_jobs_at_once_retry_each_once(redis, operator):
    fill(redis, "dead", range(1, 101))
    clients = [Client(), Client()]
    for client in clients:
        client.force_login(operator)
    chosen = names_in(page(clients[0], "dead"))
    barrier = threading.Barrier(2)

    def retry(client):
        barrier.wait()
        post(client, "dead", "retry_now", _selected_action=chosen)
        connection.close()

    threads = [threading.Thread(target=retry, args=(client,)) for client in clients]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]

    assert redis.zcard("dead") == 0
    jids = [json.loads(raw)["jid"] for raw in redis.lrange("queue:low", 0, -1)]
    assert len(jids) == len(set(jids)) == 100


def test_more_jobs_than_names_leave_no_number_below_zero(redis, client, operator):
    redis.zadd("retry", {job(1, args=[n]): n for n in (1, 2)})  # one jid, two texts

    post(client, "retries", "retry_now", _selected_action=f"{1:024x}")

    assert redis.llen("queue:low") == 2
    assert messages_of(client, "retries") == "2 jobs were put on their queues."
