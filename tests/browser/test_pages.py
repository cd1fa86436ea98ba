"""Each page in a real browser, in both themes and on a phone."""

from __future__ import annotations

import pytest

from tests.browser.stock import jid
from tests.browser.visitor import PHONE

PAGES = [
    ("overview",), ("queues",), ("queue", "default"), ("busy",), ("retries",), ("scheduled",), ("dead",), ("processes",),
    ("metrics",), ("job", jid(101)), ("search",), ("records",),
]  # fmt: skip


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page[0])
@pytest.mark.parametrize("screen", [{}, PHONE], ids=["desk", "phone"])
def test_a_page_can_be_read_by_all_in_both_themes(visit, stock, page, screen):
    """No fault in the browser, AA contrast, captions, scopes, labels, nothing beyond the screen's edge."""
    visitor = visit(**screen)
    visitor.open(*page)

    complaints = {}
    for theme in ("light", "dark"):
        visitor.page.emulate_media(color_scheme=theme)
        complaints[theme] = visitor.complaints()

    assert complaints == {"light": [], "dark": []}


@pytest.mark.parametrize(("name", "number"), [("retries", 101), ("dead", 301)])
def test_on_a_phone_the_error_stands_first_in_its_card(visit, stock, name, number):
    visitor = visit(**PHONE)
    visitor.open(name)

    row = visitor.row(jid(number))
    error, job = (row.locator(part).bounding_box()["y"] for part in (".sk-error-class", "th .sk-class"))

    assert error < job


@pytest.mark.parametrize("screen", [{}, PHONE], ids=["desk", "phone"])
def test_pages_in_vietnamese_have_room_for_its_words(visit, stock, screen):
    visitor = visit(**screen, locale="vi-VN")

    complaints = {}
    for page in PAGES:
        visitor.open(*page)
        assert visitor.page.locator("html").get_attribute("lang") == "vi"
        complaints[page] = visitor.complaints()

    assert complaints == dict.fromkeys(PAGES, [])


def test_pages_with_nothing_in_redis_can_be_read_too(visit):
    visitor = visit()

    complaints = {}
    for page in PAGES:
        visitor.open(*page)
        complaints[page] = visitor.complaints()

    assert complaints == dict.fromkeys(PAGES, [])


def test_the_admins_own_switch_turns_the_theme(visit, stock):
    page = visit(color_scheme="light").open("retries")
    background = "getComputedStyle(document.body).backgroundColor"
    light = page.evaluate(background)

    page.locator("button.theme-toggle").first.click()

    assert page.evaluate(background) != light


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
