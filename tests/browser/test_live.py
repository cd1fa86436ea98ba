"""Pages that stay live: the browser's clock is moved by hand, its time is not waited for."""

from __future__ import annotations

import pytest
from playwright.sync_api import expect

from tests.app.jobs import FlakyJob
from tests.browser.stock import jid
from tests.conftest import free_port, wait_until
from tests.workers import worker_process

ONE_POLL_MS = 6_000
HIDE = """hidden => {
    Object.defineProperty(document, "hidden", {get: () => hidden, configurable: true});
    Object.defineProperty(document, "visibilityState", {get: () => hidden ? "hidden" : "visible", configurable: true});
    document.dispatchEvent(new Event("visibilitychange"));
}"""


COUNT_MISSES = """stale => {
    const ask = window.fetch;
    let misses = 0;
    window.fetch = async (...words) => {
        const answer = await ask(...words);
        misses += answer.ok ? 0 : 1;
        return answer;
    };
    new MutationObserver(() => { if (!stale.hidden) window.missedBefore ??= misses }).observe(stale, {attributeFilter: ["hidden"]});
}"""
"""On a busy machine a poll may come by itself between two that the test lets come."""


@pytest.fixture
def visitor(visit, stock):
    visitor = visit()
    visitor.page.clock.install()
    return visitor


def test_a_number_changes_without_a_reload(visitor, redis):
    page = visitor.open("overview")
    page.evaluate("window.unloaded = false")

    redis.zadd("retry", {"another": 1})
    page.clock.run_for(ONE_POLL_MS)

    expect(page.locator("[data-number=retries]")).to_have_text("4")
    assert page.evaluate("window.unloaded") is False


def test_a_list_grows_without_a_reload_but_not_under_ones_hands(visitor, stock):
    page = visitor.open("retries")
    stock.put("retry", 30, stock.failed(104))
    page.clock.run_for(ONE_POLL_MS)
    expect(visitor.row(jid(104))).to_have_count(1)

    visitor.mark(jid(104))
    stock.put("retry", 20, stock.failed(105))
    page.clock.run_for(ONE_POLL_MS)
    expect(page.locator("[data-number=retries]")).to_have_text("5")

    assert visitor.row(jid(104)).locator("input[name=_selected_action]").is_checked()


def test_a_hidden_tab_asks_for_nothing_and_is_fresh_when_it_is_seen_again(visitor, redis):
    page = visitor.open("overview")
    page.evaluate(HIDE, True)
    asked = len(visitor.polls)

    redis.zadd("retry", {"another": 1})
    page.clock.run_for(10 * ONE_POLL_MS)
    page.evaluate("fetch(location.href)")  # had it asked, that would be known by now
    assert len(visitor.polls) == asked

    page.evaluate(HIDE, False)
    expect(page.locator("[data-number=retries]")).to_have_text("4")


def test_a_job_is_followed_on_its_page_and_what_is_typed_stays(visitor, redis):
    page = visitor.open("job", jid(201))
    page.evaluate("window.unloaded = false")
    place = page.locator(".sk-where")
    expect(place).to_contain_text("scheduled, one of 2")
    page.locator("input[name=at]").fill("2096-10-02T07:06:40")

    (raw,) = [raw for raw in redis.zrange("schedule", 0, -1) if jid(201).encode() in raw]
    redis.zrem("schedule", raw)
    redis.zadd("retry", {raw: 4e9})
    page.clock.run_for(ONE_POLL_MS)

    expect(place).to_contain_text("in retries, one of 4")
    expect(page.locator(".sk-moment-next")).to_contain_text("Next try")
    assert page.locator("button[data-action=retry_now]").count() == 1
    assert page.locator("button[data-action=enqueue_now]").count() == 0
    assert page.locator("input[name=at]").input_value() == "2096-10-02T07:06:40"
    assert page.evaluate("window.unloaded") is False
    page.locator("button[data-action=retry_now]").click()
    page.wait_for_selector(".messagelist .success")
    assert redis.zscore("retry", raw) is None


def test_redis_going_away_is_said_on_the_open_page_and_its_return_too(visitor, sidekick_settings, redis_url):
    page = visitor.open("overview")

    sidekick_settings(REDIS=f"redis://127.0.0.1:{free_port()}/0")
    page.clock.run_for(ONE_POLL_MS)
    expect(page.locator("#sk-away")).to_be_visible()
    assert page.locator("[data-number=retries]").inner_text() == "3"

    sidekick_settings(REDIS=redis_url)
    page.clock.run_for(ONE_POLL_MS)
    expect(page.locator("#sk-away")).to_be_hidden()


@pytest.mark.parametrize("name", ["retries", "scheduled", "dead", "busy", "processes", "queues", "overview", "metrics"])
def test_what_is_shown_stays_with_its_marks_while_redis_is_away(visitor, sidekick_settings, redis_url, name):
    page = visitor.open(name)
    shown, boxes = page.locator("#content tbody tr"), page.locator("#content tbody input.action-select")
    rows, is_list = shown.count(), boxes.count() > 0
    if is_list:
        boxes.first.check()

    for url in (f"redis://127.0.0.1:{free_port()}/0", redis_url):
        sidekick_settings(REDIS=url)
        page.clock.run_for(ONE_POLL_MS)
        expect(page.locator("#sk-away")).to_be_visible(visible=url != redis_url)

        assert shown.count() == rows
        assert not is_list or boxes.first.is_checked()


def test_a_page_that_is_not_kept_up_to_date_any_more_says_so_until_it_is_again(visitor, redis):
    page = visitor.open("retries")
    cookies = visitor.context.cookies()
    stale = page.locator("#sk-stale")
    visitor.forgiven.append("/admin/login/")  # which a poll does not follow

    stale.evaluate(COUNT_MISSES)
    visitor.context.clear_cookies()
    redis.zadd("retry", {"another": 1})
    for _ in range(2):
        _poll(page)
    expect(stale).to_be_visible()
    assert page.evaluate("window.missedBefore") == 2  # once is no trouble yet
    assert page.locator("[data-number=retries]").inner_text() == "3"
    assert visitor.complaints() == []

    visitor.context.add_cookies(cookies)
    _poll(page)
    expect(stale).to_be_hidden()
    expect(page.locator("[data-number=retries]")).to_have_text("4")


def _poll(page):
    with page.expect_response(lambda answer: "live=" in answer.url):
        page.clock.run_for(ONE_POLL_MS)
    page.evaluate("new Promise(requestAnimationFrame)")


def test_a_screen_reader_hears_of_failures_at_once_and_then_once_a_minute(visitor, redis):
    page = visitor.open("overview")
    news = page.locator("#sk-news")

    redis.set("stat:failed", 68)
    _poll(page)
    expect(news).to_have_text("Failed: 68")
    redis.set("stat:failed", 69)
    redis.zadd("retry", {"another": 1})
    _poll(page)
    expect(page.locator("[data-number=failed]")).to_have_text("69")
    assert news.inner_text() == "Failed: 68"

    for _ in range(11):
        _poll(page)
    expect(news).to_have_text("Failed: 69, Retries: 4")


@pytest.mark.usefixtures("redis")
def test_a_job_that_a_worker_failed_is_run_again_by_a_button(visit, redis):
    with worker_process("-c", "1"):
        job = FlakyJob.set(retry=5).perform_later()
        wait_until(lambda: redis.zcard("retry"), "the failure")
        visitor = visit()
        visitor.open("retries")
        assert "not yet healed" in visitor.row(job.jid).inner_text()

        redis.set("healed", 1)
        visitor.mark(job.jid)
        visitor.press("retry_now")

        owner = redis.zrange("sk:owners", 0, 0)[0].decode()
        wait_until(lambda: not redis.zcard("retry") and not redis.llen("queue:default") and redis.hlen(f"sk:inflight:{owner}") <= 3, "the run")
        assert not redis.zcard("dead")


def test_when_the_row_one_is_on_has_gone_the_next_key_goes_on_from_there(visitor, redis):
    page = visitor.open("retries")
    for _ in range(2):
        page.keyboard.press("j")
    (raw,) = [raw for raw in redis.zrange("retry", 0, -1) if jid(102).encode() in raw]
    redis.zrem("retry", raw)
    page.clock.run_for(ONE_POLL_MS)
    expect(visitor.row(jid(102))).to_have_count(0)

    page.keyboard.press("r")  # nobody is on a row
    assert redis.zcard("retry") == 2
    page.keyboard.press("j")

    assert jid(103) in page.evaluate("document.activeElement.closest('tr').innerText")


def test_a_poll_takes_nobody_off_the_row_or_folds_what_is_open(visitor, stock):
    page = visitor.open("retries")
    page.keyboard.press("j")
    visitor.row(jid(102)).locator("summary").click()
    page.keyboard.press("j")
    focused = "document.activeElement.closest('tr')?.innerText"
    before = page.evaluate(focused)

    for at_s in (30, 900):  # one comes before, one after
        stock.put("retry", at_s, stock.failed(int(at_s)))
        page.clock.run_for(ONE_POLL_MS)
        expect(visitor.row(jid(at_s))).to_have_count(1)

    assert page.evaluate(focused) == before
    assert visitor.row(jid(102)).locator("details").get_attribute("open") is not None
    page.keyboard.press("x")
    assert page.locator("tr:focus-within input.action-select, tr:focus input.action-select").is_checked()
