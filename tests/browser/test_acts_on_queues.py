"""Acts on queues and processes by their buttons; the last one on a real worker."""

from __future__ import annotations

import pytest
from django.contrib.admin.models import LogEntry

from tests.browser.stock import IDENTITY, jid
from tests.browser.test_acts import in_queue, jids
from tests.conftest import wait_until
from tests.workers import worker_process


def logged(*fields):
    return list(LogEntry.objects.order_by("pk").values_list("change_message", *fields))


scripts = pytest.mark.parametrize("scripts", [True, False], ids=["", "without JavaScript"])


@scripts
@pytest.mark.parametrize("page", ["queues", "queue"])
def test_a_queue_is_paused_and_resumed(visit, stock, redis, page, scripts):
    visitor = visit(java_script_enabled=scripts)
    if page == "queues":
        visitor.open("queues")
        place = visitor.row("default")
    else:
        visitor.open("queue", "default")
        place = visitor.page.locator("#sk-queue")

    visitor.press("pause", place)
    assert redis.smembers("paused") == {b"default", b"mail"}
    assert "paused" in place.inner_text()

    visitor.press("resume", place)
    assert redis.smembers("paused") == {b"mail"}
    assert "paused" not in place.inner_text()
    assert logged("object_repr") == [("pause", "queue default"), ("resume", "queue default")]


@scripts
@pytest.mark.parametrize("page", ["queues", "queue"])
def test_a_queue_is_cleared_after_a_question_with_its_number(visit, stock, redis, page, scripts):
    visitor = visit(java_script_enabled=scripts)
    if page == "queues":
        visitor.open("queues")
        visitor.press("clear", visitor.row("default"))
    else:
        visitor.open("queue", "default")
        visitor.press("clear")
    assert redis.llen("queue:default") == 3
    assert "3 jobs" in visitor.page.locator("#content").inner_text()

    visitor.confirm("clear")

    assert redis.llen("queue:default") == 0
    assert redis.llen("queue:mail") == 1
    assert redis.smembers("queues") == {b"mail", b"low"}  # as Sidekiq does
    assert LogEntry.objects.get().change_message == "clear"


@scripts
def test_chosen_jobs_are_deleted_out_of_a_queue(visit, stock, redis, scripts):
    visitor = visit(java_script_enabled=scripts)
    visitor.open("queue", "default")
    visitor.mark(jid(1), jid(3))

    visitor.press("delete")
    visitor.confirm("delete")

    assert in_queue(redis, "default") == jids(2)
    assert "2 jobs" in visitor.said()
    assert LogEntry.objects.get().change_message == "delete"


@scripts
@pytest.mark.parametrize(("act", "signal"), [("quiet", b"TSTP"), ("stop", b"TERM")])
def test_a_process_is_asked_as_sidekiqs_own_pages_ask_it(visit, stock, redis, act, signal, scripts):
    visitor = visit(java_script_enabled=scripts)
    visitor.open("processes")

    visitor.press(act, visitor.row("shop-1:4711"))
    if act == "stop":
        visitor.confirm(act)

    assert redis.lrange(f"{IDENTITY}-signals", 0, -1) == [signal]
    assert 0 < redis.ttl(f"{IDENTITY}-signals") <= 60
    assert "waits for the beat" in visitor.row("shop-1:4711").inner_text()
    assert LogEntry.objects.get().change_message == act


@scripts
@pytest.mark.parametrize(("act", "signal"), [("quiet", b"TSTP"), ("stop", b"TERM")])
def test_all_processes_are_asked_after_a_question_with_their_number(visit, stock, redis, act, signal, scripts):
    """And only those that the question was about."""
    stock.process("shop-2:4712:1f1e2d3c4b5a")
    visitor = visit(java_script_enabled=scripts)
    page = visitor.open("processes")
    assert f"{act.title()} all (2)" in page.locator(f"button[data-action={act}]").first.inner_text()

    visitor.press(act)
    assert "2 processes will take no more jobs" in page.locator("#content").inner_text()
    assert "(2)" in page.locator(f"#content button[data-action={act}]").inner_text()
    assert redis.keys("*-signals") == []
    stock.process("shop-3:4713:2f1e2d3c4b5a")
    visitor.confirm(act)

    signals = {key: redis.lrange(key, 0, -1) for key in redis.keys("*-signals")}
    assert signals == {f"{identity}-signals".encode(): [signal] for identity in (IDENTITY, "shop-2:4712:1f1e2d3c4b5a")}
    assert "2 processes are asked" in visitor.said()
    assert logged() == [(act,)] * 2


@scripts
def test_what_a_filter_shows_of_a_queue_is_deleted_and_what_has_come_since_stays(visit, stock, redis, scripts):
    stock.enqueue("default", stock.job(7, "shop.jobs.ThumbnailJob"))
    visitor = visit(java_script_enabled=scripts)
    page = visitor.open("queue", "default", query="?class=shop.jobs.QuoteJob")
    page.locator("input[name=select_across]").check()

    visitor.press("delete")
    assert "3 jobs" in page.locator("#content").inner_text()
    stock.enqueue("default", stock.job(8))
    redis.rpop("queue:default")
    visitor.confirm("delete")

    assert in_queue(redis, "default") == jids(7, 8)
    assert "2 jobs were deleted." in visitor.said() and "1 job was not there any more." in visitor.said()
    assert logged("object_repr") == [("delete", "queue default: 2")]


def test_a_real_worker_ends_by_the_button(visit, redis):
    with worker_process("-c", "1") as worker:
        wait_until(lambda: redis.smembers("processes"), "the first beat")
        visitor = visit()
        visitor.open("processes")

        visitor.press("stop", visitor.row(str(worker.process.pid)))
        visitor.confirm("stop")

        assert worker.wait(30) == 0
        assert redis.smembers("processes") == set()
