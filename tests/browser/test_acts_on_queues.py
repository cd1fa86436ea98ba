"""Acts on queues and processes by their buttons; the last one on a real worker."""

from __future__ import annotations

import pytest
from django.contrib.admin.models import LogEntry

from tests.browser.stock import IDENTITY, jid
from tests.browser.test_acts import in_queue, jids
from tests.conftest import wait_until
from tests.workers import worker_process

scripts = pytest.mark.parametrize("scripts", [True, False], ids=["", "without JavaScript"])


@scripts
def test_a_queue_is_paused_and_resumed(visit, stock, redis, scripts):
    visitor = visit(java_script_enabled=scripts)
    visitor.open("queues")

    visitor.press("pause", visitor.row("default"))
    assert redis.smembers("paused") == {b"default", b"mail"}
    assert "paused" in visitor.row("default").inner_text()

    visitor.press("resume", visitor.row("default"))
    assert redis.smembers("paused") == {b"mail"}
    assert [entry.change_message for entry in LogEntry.objects.order_by("pk")] == ["pause", "resume"]


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


def test_a_real_worker_ends_by_the_button(visit, redis):
    with worker_process("-c", "1") as worker:
        wait_until(lambda: redis.smembers("processes"), "the first beat")
        visitor = visit()
        visitor.open("processes")

        visitor.press("stop", visitor.row(str(worker.process.pid)))
        visitor.confirm("stop")

        assert worker.wait(30) == 0
        assert redis.smembers("processes") == set()
