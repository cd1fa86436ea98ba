"""Each act by its button: what it does to Redis, what the page says, and what the admin's log keeps."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.admin.models import LogEntry

from tests.browser.stock import jid

DESTROYING = {"kill", "delete", "clear", "stop"}


def in_set(redis: Any, key: str) -> set[str]:
    return {json.loads(raw)["jid"] for raw in redis.zrange(key, 0, -1)}


def in_queue(redis: Any, name: str) -> set[str]:
    return {json.loads(raw)["jid"] for raw in redis.lrange(f"queue:{name}", 0, -1)}


def jids(*numbers: int) -> set[str]:
    return set(map(jid, numbers))


CHOSEN: dict[tuple[str, str], Callable[[Any], bool]] = {
    ("retries", "retry_now"): lambda r: in_set(r, "retry") == jids(103) and jids(101, 102) <= in_queue(r, "default"),
    ("retries", "kill"): lambda r: in_set(r, "retry") == jids(103) and in_set(r, "dead") == jids(101, 102, 301, 302),
    ("retries", "delete"): lambda r: in_set(r, "retry") == jids(103) and in_set(r, "dead") == jids(301, 302),
    ("scheduled", "enqueue_now"): lambda r: r.exists("schedule") == 0 and in_queue(r, "low") == jids(201) and jids(202) <= in_queue(r, "default"),
    ("scheduled", "delete"): lambda r: r.exists("schedule") == 0 and r.llen("queue:low") == 0,
    ("dead", "retry_now"): lambda r: r.exists("dead") == 0 and jids(301, 302) <= in_queue(r, "default"),
    ("dead", "delete"): lambda r: r.exists("dead") == 0 and r.llen("queue:default") == 3,
}
"""What is so after an act on the first two jobs of a page."""
FIRST = {"retries": 101, "scheduled": 201, "dead": 301}
SETS = {"retries": "retry", "scheduled": "schedule", "dead": "dead"}


@pytest.mark.parametrize(("name", "act"), CHOSEN)
@pytest.mark.parametrize("scripts", [True, False], ids=["", "without JavaScript"])
def test_an_act_on_chosen_jobs(visit, stock, redis, name, act, scripts):
    visitor = visit(java_script_enabled=scripts)
    visitor.open(name)
    visitor.mark(jid(FIRST[name]), jid(FIRST[name] + 1))

    visitor.press(act)
    if act in DESTROYING:
        visitor.confirm(act)

    assert CHOSEN[name, act](redis)
    assert "2 jobs" in visitor.said()
    assert visitor.page.url.endswith(visitor.url(name))
    assert [entry.change_message for entry in LogEntry.objects.all()] == [act]


PRESSED_AGAIN = threading.Event()


def slow_layer(call_next: Any) -> Any:
    return lambda payload: call_next(payload) if PRESSED_AGAIN.wait(10) else None


def test_a_second_press_while_the_server_is_slow_is_no_second_act(visit, stock, redis, sidekick_settings):
    sidekick_settings(CLIENT_MIDDLEWARE=[f"{__name__}.slow_layer"], ENQUEUE_TIMEOUT=20)
    PRESSED_AGAIN.clear()
    visitor = visit()
    page = visitor.open("job", jid(101))
    visitor.forgiven.append("ERR_ABORTED")
    box = page.locator("button[data-action=run_again]").bounding_box()
    place = box["x"] + 5, box["y"] + 5

    with page.expect_request(lambda request: request.method == "POST"):
        page.mouse.click(*place)
    page.mouse.click(*place)
    PRESSED_AGAIN.set()
    page.wait_for_selector(".messagelist")

    assert "runs again" in visitor.said()
    assert redis.llen("queue:default") == 4


@pytest.mark.parametrize("name", ["retries", "scheduled"])
def test_rescheduling_gives_chosen_jobs_another_time(visit, stock, redis, name):
    visitor = visit(timezone_id="UTC")
    page = visitor.open(name)
    visitor.mark(jid(FIRST[name]))
    page.locator("input[name=at]").fill("2100-01-02T03:04:05")

    visitor.press("reschedule")

    times = {json.loads(raw)["jid"]: at for raw, at in redis.zrange(SETS[name], 0, -1, withscores=True)}
    assert times[jid(FIRST[name])] == 4102542245
    assert sum(at > 4102000000 for at in times.values()) == 1
    assert LogEntry.objects.get().object_id == jid(FIRST[name])


@pytest.mark.parametrize("name", SETS)
def test_clearing_a_set_is_asked_about_and_empties_that_set_alone(visit, stock, redis, name):
    sizes = {key: redis.zcard(key) for key in SETS.values()}
    visitor = visit()
    page = visitor.open(name)
    assert f"({sizes[SETS[name]]})" in page.locator("button[data-action=clear]").inner_text()

    visitor.press("clear")
    assert redis.zcard(SETS[name]) == sizes[SETS[name]]
    visitor.confirm("clear")

    assert {key: redis.zcard(key) for key in SETS.values()} == {**sizes, SETS[name]: 0}
    assert LogEntry.objects.get().change_message == "clear"


def test_all_that_match_a_filter_are_meant_and_no_others(visit, stock, redis):
    visitor = visit()
    page = visitor.open("retries")
    page.get_by_label("Show only jobs with").fill("QuoteJob")
    page.get_by_role("button", name="Filter").click()
    page.wait_for_url("**q=QuoteJob*")

    page.locator("input[name=select_across]").check()
    visitor.press("retry_now")
    visitor.confirm("retry_now")

    assert in_set(redis, "retry") == jids(102)
    assert jids(101, 103) <= in_queue(redis, "default")
    assert "q=QuoteJob" in page.url


def test_to_take_it_back_changes_nothing(visit, stock, redis):
    visitor = visit()
    page = visitor.open("dead", query="?q=Quote")
    visitor.mark(jid(301))
    visitor.press("delete")

    with page.expect_navigation():
        page.get_by_text("No, take me back").click()

    assert page.url.endswith("?q=Quote")
    assert in_set(redis, "dead") == jids(301, 302)
    assert not LogEntry.objects.exists()
