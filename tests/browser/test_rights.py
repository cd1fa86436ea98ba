"""Who may do what: buttons that one may not press are not there, and what is sent by hand is refused."""

from __future__ import annotations

import pytest
from django.contrib.admin.models import LogEntry

from tests.browser.stock import IDENTITY, jid
from tests.browser.test_acts import DESTROYING
from tests.browser.test_pages import PAGES

BY_HAND = """async ([url, fields]) => {
    const body = new URLSearchParams(fields);
    const token = document.cookie.match(/csrftoken=([^;]+)/)?.[1] ?? "";
    return (await fetch(url, {method: "POST", body, headers: {"X-CSRFToken": token}})).status;
}"""
BUTTONS = "[...document.querySelectorAll('#content [data-action]')].map(button => button.dataset.action)"
BOXES = "#content input[type=checkbox]"


def shown_on(visitor) -> dict[str, set[str]]:
    found = {}
    for name, *rest in PAGES:
        page = visitor.open(name, *rest)
        found[name] = set(page.evaluate(BUTTONS))
    return found


def test_who_may_see_sees_and_has_nothing_to_press(visit, stock):
    visitor = visit("view_jobrecord")

    assert set().union(*shown_on(visitor).values()) == set()
    visitor.open("retries")
    assert visitor.row(jid(101)).count() == 1
    assert visitor.page.locator(BOXES).count() == 0


def test_who_may_operate_has_no_button_that_destroys(visit, stock):
    shown = shown_on(visit("view_jobrecord", "operate_jobs"))

    assert set().union(*shown.values()) == {"retry_now", "enqueue_now", "run_again", "reschedule", "pause", "resume", "quiet"}


def test_who_may_do_all_has_all_buttons_where_they_belong(visit, stock):
    shown = shown_on(visit())

    assert {act for acts in shown.values() for act in acts} >= DESTROYING
    assert {"retry_now", "reschedule", "kill", "delete", "clear"} <= shown["retries"]
    assert {"enqueue_now", "reschedule", "delete", "clear"} <= shown["scheduled"]
    assert {"retry_now", "delete", "clear"} <= shown["dead"]
    assert {"pause", "resume", "clear"} <= shown["queues"]
    assert {"delete"} <= shown["queue"]
    assert {"quiet", "stop"} <= shown["processes"]
    assert {"retry_now", "kill", "delete", "reschedule"} <= shown["job"]


@pytest.mark.parametrize("rights", [("view_jobrecord",), ("view_jobrecord", "operate_jobs")], ids=["viewer", "operator"])
def test_what_is_sent_by_hand_is_refused_and_changes_nothing(visit, stock, redis, rights):
    before = {key: redis.dump(key) for key in redis.keys("*") if not key.startswith(b"sk:")}
    visitor = visit(*rights)
    visitor.forgiven += ["403"]
    page = visitor.page
    page.goto("/admin/login/")  # brings the token
    visitor.open("retries")

    chosen = {"_selected_action": jid(101), "post": "yes"}
    for name, act, fields in (
        ("retries", "kill", chosen), ("retries", "clear", chosen), ("dead", "delete", chosen), ("queues", "clear", {"queue": "default", **chosen}),
        ("processes", "stop", {"process": IDENTITY, **chosen}),
    ):  # fmt: skip
        assert page.evaluate(BY_HAND, [visitor.url(name), {"action": act, **fields}]) == 403, (name, act)

    assert {key: redis.dump(key) for key in redis.keys("*") if not key.startswith(b"sk:")} == before
    assert not LogEntry.objects.exists()


def test_staff_without_the_right_to_see_gets_403(visit, stock):
    visitor = visit("change_order")
    visitor.forgiven += ["403"]

    for name, *rest in PAGES:
        assert visitor.page.goto(visitor.url(name, *rest)).status == 403
