"""A project with USE_TZ off: its times are naive, in the zone of the server. Every page opens and says the same."""

from __future__ import annotations

import time
from datetime import timedelta

import pytest
from django.urls import reverse
from django.utils import timezone

from tests.dashboard.live import beat, enqueue, job, run
from tests.dashboard.records import JID, attempt, record

pytestmark = pytest.mark.django_db
LIST = reverse("admin:django_sidekick_jobrecord_changelist")


@pytest.fixture(autouse=True)
def naive(settings, redis, db):
    settings.USE_TZ = False
    beat(redis)
    enqueue(redis, job(jid="q" * 24))
    run(redis, job(jid="b" * 24))
    for key in ("retry", "schedule", "dead"):
        redis.zadd(key, {job(jid=key.ljust(24, "x"), failed_at=1_795_408_310_000): time.time()})


@pytest.mark.parametrize("query", ["", "?live=1"])
@pytest.mark.parametrize("page", ["overview", "queues", "busy", "retries", "scheduled", "dead", "processes", "metrics"])
def test_every_live_page_opens(client, destroyer, page, query):
    assert client.get(reverse(f"admin:sidekick_{page}") + query).status_code == 200


@pytest.mark.parametrize("query", ["", "?live=1"])
@pytest.mark.parametrize("key", ["retry", "schedule", "dead"])
def test_a_job_tells_its_life_in_order_from_both_places(redis, client, destroyer, key, query):
    now = timezone.now()
    kept = record(
        state=key if key != "schedule" else "scheduled", error_class="E", created_at=now - timedelta(minutes=9),
        enqueued_at=now - timedelta(minutes=8), started_at=now - timedelta(minutes=7), scheduled_at=now - timedelta(minutes=6),
    )  # fmt: skip
    attempt(kept, 1, finished_at=now - timedelta(minutes=5))
    redis.zadd(key, {job(jid=JID): time.time() + 600})

    answer = client.get(reverse("admin:sidekick_job", args=[JID]) + query)

    assert answer.status_code == 200
    assert "9 minutes ago" in answer.content.decode()


def test_a_job_that_has_ended_tells_its_end(client, viewer):
    record(state="processed", finished_at=timezone.now() - timedelta(minutes=4), started_at=timezone.now() - timedelta(minutes=5))

    assert "4 minutes ago" in client.get(reverse("admin:sidekick_job", args=[JID])).content.decode()


@pytest.mark.parametrize("query", ["", "?time=today", "?time=hour", "?time=week", f"?changed_at__year={timezone.now().year}"])
def test_the_list_opens_and_finds_what_is_new(client, viewer, query):
    record()

    answer = client.get(LIST + query)

    assert answer.status_code == 200
    assert JID in answer.content.decode()
