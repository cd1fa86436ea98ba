"""Marks in a list: how many stand in the buttons, all at once, from one to another, and what a screen reader hears."""

from __future__ import annotations

from playwright.sync_api import expect

from tests.browser.test_live import ONE_POLL_MS


def test_marks_are_counted_in_the_buttons_and_reach_from_one_to_another(visit, stock):
    page = visit().open("retries")
    boxes, button = page.locator("input.action-select"), page.locator("button[data-action=retry_now]").first

    boxes.nth(0).click()
    boxes.nth(2).click(modifiers=["Shift"])
    expect(button).to_contain_text("(3)")
    boxes.nth(1).click()
    expect(button).to_contain_text("(2)")
    assert page.locator("[data-toggle]").evaluate("box => box.indeterminate")
    page.locator("[data-toggle]").click()
    expect(button).to_contain_text("(3)")
    page.locator("[data-toggle]").click()
    expect(button).not_to_contain_text("(")


def test_a_screen_reader_hears_of_marks_and_of_new_failures(visit, stock, redis):
    visitor = visit()
    visitor.page.clock.install()
    page = visitor.open("retries")
    news = page.locator("#sk-news")

    page.keyboard.press("j")
    page.keyboard.press("x")
    expect(news).to_have_text("Marked")
    page.keyboard.press("x")
    expect(news).to_have_text("Not marked any more")
    redis.set("stat:failed", 4321)
    page.clock.run_for(ONE_POLL_MS)
    expect(news).to_have_text("Failed: 4,321")


def test_what_is_marked_in_a_queue_stays_marked_while_others_are_taken(visit, stock, redis):
    visitor = visit()
    visitor.page.clock.install()
    page = visitor.open("queue", "default")
    page.locator("input.action-select").nth(1).check()
    jid = page.locator(".sk-jid").nth(1).inner_text()

    redis.rpop("queue:default")
    page.clock.run_for(ONE_POLL_MS)

    expect(page.locator("input.action-select")).to_have_count(2)
    marked = page.locator("tr:has(input.action-select:checked) .sk-jid")
    expect(marked).to_have_text([jid])
