"""One job: its page, the acts on it, and the ways to it."""

from __future__ import annotations

import json

import pytest
from django.contrib.admin.models import DELETION, LogEntry

from django_sidekick.dashboard import errandpage
from django_sidekick.models import JobRecord
from tests.browser.stock import Stock, jid
from tests.browser.test_acts import in_queue, in_set, jids
from tests.dashboard.records import many, record

ACTS = {
    ("retry_now", 101): lambda r: in_set(r, "retry") == jids(102, 103) and jids(101) <= in_queue(r, "default"),
    ("kill", 101): lambda r: in_set(r, "retry") == jids(102, 103) and in_set(r, "dead") == jids(101, 301, 302),
    ("delete", 101): lambda r: in_set(r, "retry") == jids(102, 103) and in_set(r, "dead") == jids(301, 302),
    ("enqueue_now", 201): lambda r: in_set(r, "schedule") == jids(202) and in_queue(r, "low") == jids(201),
    ("retry_now", 301): lambda r: in_set(r, "dead") == jids(302) and jids(301) <= in_queue(r, "default"),
    ("delete", 2): lambda r: in_queue(r, "default") == jids(1, 3),
}


@pytest.mark.parametrize(("act", "number"), ACTS)
def test_an_act_on_one_job(visit, stock, redis, act, number):
    visitor = visit(java_script_enabled=False)
    visitor.open("job", jid(number))

    visitor.press(act)
    if act in ("kill", "delete"):
        visitor.confirm(act)

    assert ACTS[act, number](redis)
    assert visitor.said()
    entry = LogEntry.objects.get()
    assert (entry.change_message, entry.object_id) == (act, jid(number))


def test_a_job_is_rescheduled_on_its_page(visit, stock, redis):
    visitor = visit()
    page = visitor.open("job", jid(201))
    page.locator("input[name=at]").fill("2100-01-02T03:04:05")

    visitor.press("reschedule")

    times = {json.loads(raw)["jid"]: at for raw, at in redis.zrange("schedule", 0, -1, withscores=True)}
    assert times[jid(201)] == 4102542245
    assert "2100" in page.locator(".sk-where").inner_text() + page.locator(".sk-where time").first.get_attribute("title")


def test_running_again_makes_another_job_of_the_same_arguments(visit, stock, redis):
    visitor = visit()
    visitor.open("job", jid(301))

    visitor.press("run_again")

    (new,) = [json.loads(raw) for raw in redis.lrange("queue:default", 0, -1) if json.loads(raw)["jid"] not in jids(1, 2, 3)]
    assert (new["class"], new["args"]) == ("shop.jobs.QuoteJob", [301, "an argument"])
    assert jid(301) in in_set(redis, "dead")
    assert new["jid"] in visitor.said()
    entry = LogEntry.objects.get()
    assert (entry.change_message, entry.object_id) == ("run_again", new["jid"])
    assert entry.object_repr == f"shop.jobs.QuoteJob {jid(301)} → {new['jid']}"


def test_two_clicks_are_one_act(visit, stock):
    """Here nothing is sent: what a browser makes of two clicks depends on how fast they are."""
    page = visit().open("job", jid(301))
    page.evaluate("addEventListener('submit', e => { (window.stopped ??= []).push(e.defaultPrevented); e.preventDefault() })")

    page.locator("button[data-action=run_again]").dblclick()

    assert page.evaluate("window.stopped") == [False, True]


def test_the_page_tells_a_jobs_life(visit, stock):
    page = visit().open("job", jid(101))
    text = page.locator("#content").inner_text()

    for told in ("QuoteJob", "the carrier said 503", "Run 1", "Run 2", "HTTPError", "an argument", "carrier", "retries"):
        assert told in text
    assert "/srv/shop/jobs.py" in text  # one's own frames are open


def test_the_call_is_copied_by_its_button(visit, stock):
    visitor = visit(permissions=["clipboard-read", "clipboard-write"])
    page = visitor.open("job", jid(101))

    assert visitor.copy("sk-call") == page.locator("#sk-call").inner_text() != ""


@pytest.mark.parametrize("number", [1, 101, 201, 301, 401, 501])
def test_the_search_box_finds_a_job_wherever_it_is(visit, stock, number):
    visitor = visit()
    page = visitor.open("overview")
    page.locator("#sk-search").fill(jid(number))

    page.keyboard.press("Enter")

    page.wait_for_url(f"**{visitor.url('job', jid(number))}")
    assert jid(number) in page.locator("#content").inner_text()


def test_a_job_that_is_nowhere_is_said_to_be_nowhere(visit, stock):
    visitor = visit()
    page = visitor.open("search", query=f"?q={jid(999)}")

    assert jid(999) in page.locator("#content").inner_text() + page.locator("#sk-search").input_value()
    assert visitor.complaints() == []


def test_the_list_of_records_filters_and_leads_to_a_job(visit, stock):
    visitor = visit()
    page = visitor.open("records", query="?state=dead")
    assert page.locator("#result_list tbody tr").count() == 1

    with page.expect_navigation():
        page.locator("#result_list tbody th a.sk-jid").click()

    assert visitor.url("job", jid(301)) in page.url


def test_chosen_records_are_retried_by_the_admins_own_action(visit, stock, redis):
    visitor = visit()
    page = visitor.open("records")
    page.locator("#result_list tr").filter(has_text=jid(101)).locator("input[name=_selected_action]").check()
    page.locator("select[name=action]").select_option("retry_now")

    with page.expect_navigation():
        page.locator("button[name=index]").click()

    assert in_set(redis, "retry") == jids(102, 103)
    assert LogEntry.objects.get().change_message == "retry_now"


@pytest.mark.parametrize("scripts", [True, False], ids=["", "without JavaScript"])
@pytest.mark.parametrize(("act", "dead"), [("kill", jids(101, 102, 301, 302)), ("delete", jids(301, 302))])
def test_chosen_records_are_destroyed_after_a_question_with_their_number(visit, stock, redis, act, dead, scripts):
    record(jid(102), state="retry", job_class="shop.jobs.ThumbnailJob")
    visitor = visit(java_script_enabled=scripts)
    page = visitor.open("records")
    for number in (101, 102):
        page.locator("#result_list tr").filter(has_text=jid(number)).locator("input[name=_selected_action]").check()
    page.locator("select[name=action]").select_option(act)
    with page.expect_navigation():
        page.locator("button[name=index]").click()
    assert "These are 2 jobs. Are you sure?" in page.locator("#content").inner_text()
    assert in_set(redis, "retry") == jids(101, 102, 103)

    visitor.confirm(act)

    assert (in_set(redis, "retry"), in_set(redis, "dead")) == (jids(103), dead)
    assert "2 jobs were" in visitor.said()
    assert page.url.endswith(visitor.url("records"))
    entry = LogEntry.objects.get()
    assert (entry.change_message, entry.action_flag) == (act, DELETION)
    assert entry.object_repr.startswith("2: ")
    states = set(JobRecord.objects.filter(jid__in=jids(101, 102)).values_list("state", flat=True))
    assert (states == {"discarded"}) == (act == "delete")


def test_very_many_records_are_done_with_progress(visit, redis, monkeypatch):
    monkeypatch.setattr(errandpage, "LONGEST_TURN_S", 0.0)  # one slice of 1,000 a request
    many(1050, state="retry")
    stock = Stock(redis)
    stock.put("retry", 600, *map(stock.failed, range(1050)))
    visitor = visit()
    page = visitor.open("records", query="?state=retry")
    page.locator("#action-toggle").check()
    page.locator(".actions .question a").click()
    page.locator("select[name=action]").select_option("delete")
    with page.expect_navigation():
        page.locator("button[name=index]").click()

    page.locator("#content button[data-action=delete]").click()
    page.wait_for_url("**/jobrecord/?state=retry")

    assert "1,050 jobs were deleted." in visitor.said()
    assert redis.zcard("retry") == 0
    assert LogEntry.objects.get().object_repr == "Jobs: 1,050"
