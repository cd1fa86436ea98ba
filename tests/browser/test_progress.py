"""An act on many jobs: it goes on by itself, or by its button, and can be left."""

from __future__ import annotations

import re
from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from playwright.sync_api import expect

from django_sidekick.dashboard import errandpage
from tests.dashboard.sets import fill

MANY = errandpage.MANY + 1000
ALL_WITHIN_MS = 60_000
"""On a busy machine each of sixty slices is a turn, with a page that is loaded."""


@pytest.fixture
def many(redis: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setattr(errandpage, "TURN_S", 0.1)
    fill(redis, "retry", range(1, MANY + 1))
    return redis


def ask(visitor: Any) -> Any:
    page = visitor.open("retries")
    page.locator("input[name=select_across]").check()
    visitor.press("retry_now")
    expect(page.locator("#content button[data-action=retry_now]")).to_have_text(re.compile(f"{MANY:,}"))
    return page


def test_with_javascript_it_goes_on_by_itself(visit, many):
    visitor = visit()
    page = ask(visitor)

    page.locator("#content button[data-action=retry_now]").click()
    expect(page.locator("ul.messagelist")).to_contain_text(f"{MANY:,} jobs", timeout=ALL_WITHIN_MS)

    assert page.url.endswith(visitor.url("retries"))
    assert (many.zcard("retry"), many.llen("queue:low")) == (0, MANY)
    assert LogEntry.objects.get().object_repr == f"Retries: {MANY:,}"


def test_without_javascript_it_goes_on_by_its_button_and_can_be_left(visit, many, monkeypatch):
    monkeypatch.setattr(errandpage, "TURN_S", 0)  # one slice a request
    visitor = visit(java_script_enabled=False)
    page = ask(visitor)

    visitor.confirm("retry_now")
    left = many.zcard("retry")
    assert 0 < left < MANY
    assert f"{MANY - left:,} of {MANY:,} done" in page.locator("#content").inner_text()
    visitor.press("retry_now")
    assert many.zcard("retry") < left
    left = many.zcard("retry")

    with page.expect_navigation():
        page.get_by_text("Stop here").click()

    assert many.zcard("retry") == left
    assert LogEntry.objects.get().object_repr == f"Retries: {MANY - left:,}"
