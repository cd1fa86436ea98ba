"""A list without a mouse: / searches, j and k move, x marks, r retries."""

from __future__ import annotations

import pytest
from playwright.sync_api import expect

from tests.browser.stock import jid
from tests.browser.test_acts import in_queue, in_set, jids

FOCUSED = "document.activeElement.type === 'search'"


@pytest.fixture
def visitor(visit, stock):
    return visit()


def test_slash_goes_to_a_search_box_and_writes_nothing_into_it(visitor):
    page = visitor.open("retries")

    page.keyboard.press("/")
    assert page.evaluate(FOCUSED)
    page.keyboard.type("a/b jk x r")

    assert page.evaluate("document.activeElement.value") == "a/b jk x r"


def test_j_and_k_move_x_marks_and_r_retries_what_is_marked(visitor, redis):
    page = visitor.open("retries")

    for key in "jjkjx":  # the second row
        page.keyboard.press(key)
    assert visitor.row(jid(102)).locator("input[name=_selected_action]").is_checked()
    with page.expect_navigation():
        page.keyboard.press("r")

    assert in_set(redis, "retry") == jids(101, 103)
    assert jids(102) <= in_queue(redis, "default")


def test_r_retries_the_row_one_is_on_if_none_is_marked(visitor, redis):
    page = visitor.open("dead")

    page.keyboard.press("j")
    with page.expect_navigation():
        page.keyboard.press("r")

    assert len(in_set(redis, "dead")) == 1


def test_the_list_of_the_history_has_the_same_keys(visitor, redis):
    page = visitor.open("records", query="?error=HTTPError")
    marked = page.locator("#result_list input[name=_selected_action]:checked")
    said = page.locator("#sk-news")

    for key in "jjkx":
        page.keyboard.press(key)
    assert marked.count() == 1
    expect(said).to_have_text("Marked")
    assert page.locator("tr.selected").count() == 1, "the admin's own script has heard of it"
    assert "1 of" in page.locator(".action-counter").inner_text()
    page.keyboard.press("x")
    expect(said).to_have_text("Not marked any more")
    assert marked.count() == 0
    page.keyboard.press("/")
    assert page.evaluate("document.activeElement.id") == "searchbar"
    page.keyboard.press("Escape")
    page.keyboard.press("j")
    page.keyboard.press("Enter")
    page.wait_for_url("**/live/job/*/")


def test_r_retries_from_the_history_what_one_is_on_or_what_is_marked(visitor, redis):
    page = visitor.open("records", query="?state=retry")

    page.keyboard.press("j")
    with page.expect_navigation():
        page.keyboard.press("r")

    assert "1 job was put on its queue." in visitor.said()
    assert jids(101) <= in_queue(redis, "default")


def test_r_does_nothing_in_the_history_for_who_may_only_look(visit, stock, redis):
    page = visit("view_jobrecord").open("records", query="?state=retry")

    for key in "jxr":
        page.keyboard.press(key)

    assert in_set(redis, "retry") == jids(101, 102, 103)


@pytest.mark.parametrize(("name", "rights"), [("dead", ()), ("retries", ("view_jobrecord", "destroy_jobs")), ("retries", ())])
def test_enter_on_a_mark_does_nothing_to_the_job(visit, stock, redis, name, rights):
    visitor = visit(*rights)
    page = visitor.open(name)
    before = [in_set(redis, key) for key in ("retry", "dead")]
    box = page.locator("input[name=_selected_action]").first
    box.check()

    box.press("Enter")
    if name == "retries" and not rights:  # the field of the time is there, and says that it is empty
        page.wait_for_selector(".messagelist .error")
    else:
        page.evaluate("fetch(location.href)")  # had it been sent, the answer would be here by now
        assert box.is_checked()

    assert [in_set(redis, key) for key in ("retry", "dead")] == before
    assert page.locator("input[name=post]").count() == 0, "nothing is asked"


def test_enter_on_a_mark_in_a_queue_does_nothing_to_it(visitor, redis):
    page, paused = visitor.open("queue", "default"), redis.smembers("paused")
    box = page.locator("input[name=_selected_action]").first
    box.check()

    box.press("Enter")
    page.evaluate("fetch(location.href)")  # had it been sent, the answer would be here by now

    assert box.is_checked()
    assert redis.smembers("paused") == paused


def test_keys_of_the_browser_are_left_to_it(visitor, redis):
    page = visitor.open("retries")
    page.keyboard.press("j")

    for key in ("Control+x", "Alt+x", "Meta+x", "Alt+r", "Control+/"):
        page.keyboard.press(key)

    assert page.locator("input[name=_selected_action]:checked").count() == 0
    assert in_set(redis, "retry") == jids(101, 102, 103)


def test_a_list_can_be_worked_with_tab_and_space_alone(visitor):
    page = visitor.open("retries")
    box = visitor.row(jid(101)).locator("input[name=_selected_action]")

    for _ in range(60):
        page.keyboard.press("Tab")
        if box.evaluate("box => box === document.activeElement"):
            break
    page.keyboard.press("Space")

    expect(box).to_be_checked()
