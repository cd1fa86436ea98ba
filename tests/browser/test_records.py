"""The history and a job's page, as a person meets them."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.contrib.admin.models import LogEntry
from django.utils import timezone

from tests.browser.visitor import PHONE
from tests.dashboard.records import JID, attempt, many, record
from tests.dashboard.test_job import TRACEBACK

LIST = "/admin/django_sidekick/jobrecord/"


@pytest.fixture
def kept(transactional_db):
    """A dead job with two runs among others."""
    now = timezone.now()
    many(150)
    dead = record(
        job_class="shop.jobs.CleanUpOrderJob", state="dead", attempts=2, created_at=now - timedelta(minutes=9), kwargs={"force": True},
        enqueued_at=now - timedelta(minutes=8), finished_at=now, wait_time=timedelta(seconds=3), run_time=timedelta(milliseconds=12),
        error_class="ValueError", error_message="no such order " + "x" * 300, worker="host:1:a",
    )  # fmt: skip
    record("b" * 24, job_class="shop.jobs.CleanUpOrderJob", error_class="ValueError", error_message="y" * 300, state="retry")
    for number in (1, 2):
        attempt(dead, number, error_message="no such order", backtrace=TRACEBACK, started_at=now - timedelta(seconds=9), finished_at=now)
    return dead


@pytest.mark.parametrize("path", [LIST, f"{LIST}?state=dead&q=cleanup", f"/admin/django_sidekick/live/job/{JID}/", "/admin/django_sidekick/live/search/?q=clean"])
@pytest.mark.parametrize("screen", [{}, PHONE], ids=["desk", "phone"])
def test_the_history_can_be_read_by_all_in_both_themes(visit, kept, path, screen):
    visitor = visit(**screen)
    visitor.page.goto(path)

    complaints = {}
    for theme in ("light", "dark"):
        visitor.page.emulate_media(color_scheme=theme)
        complaints[theme] = visitor.complaints()

    assert complaints == {"light": [], "dark": []}


def test_the_call_is_copied(visit, kept):
    visitor = visit(permissions=["clipboard-read", "clipboard-write"])
    visitor.open("job", JID)

    assert visitor.copy("sk-call") == "CleanUpOrderJob.perform_later(1, force=True)"


def test_a_jid_in_the_search_box_opens_its_job(visit, kept):
    visitor = visit()
    visitor.open("overview")

    visitor.page.fill("#sk-search", JID)
    visitor.page.press("#sk-search", "Enter")
    visitor.page.wait_for_url(f"**/job/{JID}/")

    assert "no such order" in visitor.page.inner_text(".sk-run")


def test_a_row_is_chosen_in_the_list_and_runs_again(visit, kept, redis):
    visitor = visit()
    visitor.page.goto(f"{LIST}?state=dead")

    visitor.page.check("input[name=_selected_action]")
    visitor.page.select_option("select[name=action]", "run_again")
    visitor.page.click("button[name=index]")

    visitor.page.wait_for_selector(".messagelist .success")
    assert "1 job runs again." in visitor.page.inner_text(".messagelist")
    assert redis.llen("queue:low") == 1
    entry = LogEntry.objects.get()
    assert (entry.change_message, entry.object_id, entry.object_repr) == ("run_again", JID, JID)
