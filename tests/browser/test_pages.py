"""Each page in a real browser, in both themes and on a phone."""

from __future__ import annotations

import pytest

from tests.browser.stock import Stock, jid
from tests.browser.visitor import PHONE

PAGES = [
    ("overview",), ("queues",), ("queue", "default"), ("busy",), ("retries",), ("scheduled",), ("dead",), ("processes",),
    ("metrics",), ("job", jid(101)), ("search",),
]  # fmt: skip
LOOKS = {
    "light": {"color_scheme": "light"},
    "dark": {"color_scheme": "dark"},
    "phone": {**PHONE, "color_scheme": "light"},
    "dark phone": {**PHONE, "color_scheme": "dark"},
}


@pytest.fixture
def stock(redis):
    stock = Stock(redis)
    stock.fill()
    return stock


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page[0])
@pytest.mark.parametrize("look", LOOKS)
def test_a_page_can_be_read_by_all(visit, stock, page, look):
    """No fault in the browser, AA contrast, captions, scopes, labels, nothing beyond the screen's edge."""
    visitor = visit(**LOOKS[look])

    visitor.open(*page)

    assert visitor.complaints() == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page[0])
def test_a_page_with_nothing_in_redis_can_be_read_too(visit, page):
    visitor = visit()

    visitor.open(*page)

    assert visitor.complaints() == []


def test_who_is_not_logged_in_comes_to_the_login_and_back(visit, stock, django_user_model):
    django_user_model.objects.create_superuser("boss", password="let me in")
    page = visit(None).open("retries")

    page.get_by_label("Username").fill("boss")
    page.get_by_label("Password").fill("let me in")
    page.get_by_role("button", name="Log in").click()

    page.wait_for_url("**/retries/")


def test_the_admins_index_leads_to_the_overview_and_its_tabs_to_all_pages(visit, stock):
    visitor = visit()
    page = visitor.page
    page.goto("/admin/")

    page.locator("#content").get_by_role("link", name="Live", exact=True).click()
    for name in ("busy", "queues", "retries", "scheduled", "dead", "processes", "metrics", "overview"):
        page.locator("nav.sk-tabs").get_by_role("link", name=name.capitalize(), exact=True).click()
        page.wait_for_url(f"**{visitor.url(name)}")
        assert page.locator("nav.sk-tabs [aria-current=page]").inner_text() == name.capitalize()
