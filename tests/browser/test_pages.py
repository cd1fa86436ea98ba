"""Each page in a real browser, in both themes and on a phone."""

from __future__ import annotations

import pytest

from tests.browser.stock import jid
from tests.browser.visitor import PHONE

PAGES = [
    ("overview",), ("queues",), ("queue", "default"), ("busy",), ("retries",), ("scheduled",), ("dead",), ("processes",),
    ("metrics",), ("job", jid(101)), ("search",), ("records",),
]  # fmt: skip

TOO_WIDE = """() => {
    const {scrollWidth, clientWidth} = document.documentElement;
    const broken = [...document.querySelectorAll(".sk-number dd")].filter((number) => number.getClientRects().length > 1 || number.offsetHeight > 45);
    return [...(scrollWidth > clientWidth ? [`${scrollWidth} px`] : []), ...broken.map((number) => number.textContent)];
}"""


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


LOOK = """(selector) => {
    const {backgroundColor, color, padding, boxShadow} = getComputedStyle(document.querySelector(selector));
    return {backgroundColor, color, padding, boxShadow};
}"""


def test_path_and_buttons_look_as_the_admins_own(visit, stock):
    """Of whichever Django: its style sheets, and what they hang on, change with it."""
    visitor = visit()
    page = visitor.open("records")
    path, button = page.evaluate(LOOK, ".breadcrumbs"), page.evaluate(LOOK, "#changelist-search .button")
    page = visitor.open("retries")

    assert page.evaluate(LOOK, ".breadcrumbs") == path
    for selector in ('.sk-actions [data-action="retry_now"]', ".sk-filter .button"):
        look = page.evaluate(LOOK, selector)
        assert {name: look[name] for name in ("backgroundColor", "color", "boxShadow")} == {
            name: button[name] for name in ("backgroundColor", "color", "boxShadow")
        }, selector


@pytest.mark.parametrize("locale", ["en", "vi"])
def test_at_no_width_runs_a_page_out_of_its_window_or_breaks_a_number(visit, stock, redis, locale):
    """A tablet, half a window, a page at 200 %: the admin's sidebar takes its part of these widths."""
    redis.set("stat:processed", 1_234_567_890)
    name = "a_name_without_an_end" * 20
    stock.enqueue(name, stock.job(5, name, name))
    stock.put("retry", 5, stock.failed(104, name))
    stock.metrics(name, 1_234_567, 123_456, 1_234_567_890)
    visitor = visit(locale=locale)

    out = []
    for page in [*PAGES, ("queue", name), ("job", jid(104))]:
        visitor.open(*page)
        for width in (320, 360, 768, 900, 1024, 1152, 1280):
            visitor.page.set_viewport_size({"width": width, "height": 900})
            out += [(page, width, fault) for fault in visitor.page.evaluate(TOO_WIDE)]

    assert out == []


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
