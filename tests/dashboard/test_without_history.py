"""Every page and act where nothing is recorded, where the tables are missing, and where they are elsewhere."""

from __future__ import annotations

import pytest
from django.contrib.admin.models import LogEntry
from django.db import connections
from django.urls import reverse

from tests.dashboard.live import beat, enqueue, run
from tests.dashboard.records import record
from tests.dashboard.sets import fill, job

pytestmark = pytest.mark.django_db(databases="__all__")
LIST = "/admin/django_sidekick/jobrecord/"
JID = f"{1:024x}"
PAGES = [
    *(reverse(f"admin:sidekick_{name}") for name in ("overview", "queues", "busy", "processes", "metrics", "retries", "scheduled", "dead")),
    reverse("admin:sidekick_queue", args=["low"]), reverse("admin:sidekick_job", args=[JID]), reverse("admin:sidekick_search"), LIST, "/admin/",
]  # fmt: skip
QUERIES = ["", "?live=1", f"?q={JID}", "?q=ValueError", "?q=HardJob&class=x&queue=y&error=z", "?p=3&o=-2.1"]
ACTS = [
    ("retries", "retry_now"), ("retries", "reschedule"), ("retries", "kill"), ("retries", "delete"), ("retries", "clear"),
    ("scheduled", "enqueue_now"), ("dead", "retry_now"), ("dead", "clear"), ("queues", "clear"), ("queues", "pause"),
]  # fmt: skip


@pytest.fixture(params=["off", "missing", "elsewhere"])
def without(request, redis, sidekick_settings):
    """An ordinary Redis, and no history to speak of. Return which."""
    alias = "default" if request.param == "off" else "other"
    sidekick_settings(HISTORY_DATABASE=alias, **({"HISTORY": "off"} if request.param == "off" else {}))
    if request.param == "missing":
        with connections["other"].cursor() as cursor:
            for table in ("jobrecord", "jobattempt", "historycursor"):
                cursor.execute(f"ALTER TABLE django_sidekick_{table} RENAME TO gone_{table}")
    for key in ("retry", "schedule", "dead"):
        fill(redis, key, range(1, 4))
    enqueue(redis, *map(job, range(4, 7)))
    beat(redis)
    run(redis, job(7).decode())
    return request.param


@pytest.mark.parametrize("query", ["?state=dead&class=HardJob&q=x", "?error=x&o=-2.1", "?q=HardJob&p=3", f"?q={JID}"])
def test_the_list_opens_with_all_that_it_can_be_asked(without, client, destroyer, query):
    answer = client.get(LIST + query, follow=True)

    assert answer.status_code == 200


@pytest.mark.parametrize("query", QUERIES)
@pytest.mark.parametrize("url", PAGES[:-2])
def test_every_page_opens(without, client, destroyer, url, query):
    answer = client.get(url + query, follow=True)

    assert answer.status_code == 200


def test_where_it_is_off_no_page_says_that_anything_is_wrong(redis, client, destroyer, sidekick_settings):
    sidekick_settings(HISTORY="off")

    for url in PAGES:
        text = client.get(url).content.decode()
        assert "sk-note sk-behind" not in text
        assert 'class="errornote" role="alert">' not in text


@pytest.mark.parametrize(("name", "act"), ACTS)
def test_every_act_is_done_and_logged(without, redis, client, destroyer, name, act):
    url = reverse(f"admin:sidekick_{name}")
    posted = {"action": act, "select_across": "1", "post": "yes", "at": "2096-10-02 07:06:40", "_selected_action": "low"}

    answer = client.post(url, posted, follow=True)

    assert answer.status_code == 200
    assert [str(message.level_tag) for message in answer.context["messages"]] == ["success"]
    assert LogEntry.objects.get().change_message == act
    assert bool(redis.exists("sk:events")) == (without != "off" and act != "pause")


@pytest.mark.parametrize("act", ["retry_now", "kill", "delete", "run_again", "reschedule"])
def test_a_jobs_page_acts_all_the_same(without, redis, client, destroyer, act):
    redis.delete("schedule", "dead")

    answer = client.post(reverse("admin:sidekick_job", args=[JID]), {"action": act, "post": "yes", "at": "2096-10-02 07:06:40"}, follow=True)

    assert answer.status_code == 200
    assert [str(message.level_tag) for message in answer.context["messages"]] == ["success"]
    assert redis.zscore("retry", job(1)) != 1 or act == "run_again"
    assert LogEntry.objects.get().change_message == act


def test_missing_tables_break_no_open_transaction(each_alias, redis, client, destroyer, sidekick_settings):
    sidekick_settings(HISTORY_DATABASE=each_alias)
    with connections[each_alias].cursor() as cursor:
        cursor.execute("ALTER TABLE django_sidekick_jobrecord RENAME TO gone")
    page = reverse("admin:sidekick_job", args=[JID])

    try:
        for url in (LIST, page, LIST, page):
            assert "tables are missing" in client.get(url).content.decode()
    finally:  # MariaDB's rollback leaves tables as they are
        with connections[each_alias].cursor() as cursor:
            cursor.execute("ALTER TABLE gone RENAME TO django_sidekick_jobrecord")


def test_an_act_on_the_list_without_tables_is_a_page_that_says_so(without, client, destroyer):
    posted = {"action": "retry_now", "index": "0", "_selected_action": JID, "select_across": "0"}

    answer = client.post(LIST, posted, follow=True)

    assert answer.status_code == 200
    assert ("tables are missing" in answer.content.decode()) == (without == "missing")


def test_a_history_elsewhere_is_read_and_discarded_there(redis, client, destroyer, sidekick_settings):
    sidekick_settings(HISTORY_DATABASE="other")
    record(JID, database="other", state="retry")
    fill(redis, "retry", range(1, 2))
    assert JID in client.get(LIST).content.decode()

    client.post(reverse("admin:sidekick_job", args=[JID]), {"action": "delete", "post": "yes"})

    assert "discarded" in client.get(LIST).content.decode()
    assert LogEntry.objects.using("default").count() == 1
    assert not LogEntry.objects.using("other").exists()
