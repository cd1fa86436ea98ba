"""Whatever stands in Redis, no page runs it, breaks on it or is pushed out of shape by it."""

from __future__ import annotations

import math

import pytest

from tests.browser.memory import remember_some
from tests.browser.stock import Stock, as_bytes, jid, write_sample
from tests.browser.test_pages import PAGES
from tests.browser.visitor import PHONE
from tests.golden.test_golden import SAMPLES, sample
from tests.worker.nasty import NAMED

HOSTILE = {
    "markup": "\"'></td></script></template><script>alert(1)</script><img src=x onerror=alert(2)><svg onload=alert(3)>",
    "address": "javascript:alert(1)//\u202e\u2066\ufeff{{ request }}{% now 'Y' %}%0a%00../..",
    "broken": "\ud800\udfff\0\x1b\r\n\t\x85\u2028\x7f ",
    "long": "x" * 3_000,
}
SHOWN = {"markup": "<script>alert(1)</script>", "address": "javascript:alert(1)", "long": "x" * 60}
"""What can be read of it where it is shown."""
MOST_LINKS = 16
EVERY_LIST = ("overview", "queues", "busy", "retries", "scheduled", "dead", "processes", "metrics", "records")
LINKS = "[...document.querySelectorAll('#content a[href]')].map(a => a.href.split('#')[0])"


def fill_with(redis, kind: str) -> None:
    text = HOSTILE[kind]
    if kind != "broken":  # the recorder scrubs what no database holds
        remember_some(lambda name: text[:200] + name)
    stock = Stock(redis, lambda name: text + name)
    stock.fill()
    odd = text + "jid"
    stock.enqueue("default", stock.job(1, jid=odd))
    for key in ("retry", "schedule", "dead"):
        stock.put(key, 60, stock.failed(1, jid=odd))
    redis.sadd("processes", as_bytes(text + ":1:x"))
    stock.process(f"{jid(1)}:2:y", stock.job(2, jid=odd))


@pytest.mark.parametrize("kind", HOSTILE)
def test_a_hostile_text_in_every_field_harms_no_page(visit, redis, kind):
    fill_with(redis, kind)
    visitor = visit(**PHONE)

    complaints = {}
    for name in EVERY_LIST:
        page = visitor.open(name)
        complaints[name] = visitor.complaints()
        if name in ("queues", "retries", "dead") and kind in SHOWN:
            assert SHOWN[kind] in page.locator("#content").inner_text()

    assert complaints == dict.fromkeys(EVERY_LIST, [])


@pytest.mark.parametrize("kind", HOSTILE)
def test_the_links_that_a_hostile_text_makes_lead_to_pages(visit, redis, kind):
    fill_with(redis, kind)
    visitor = visit()
    seen = set()

    for name in ("queues", "retries", "records"):
        visitor.open(name)
        links = [link for link in visitor.page.evaluate(LINKS) if "/django_sidekick/" in link]
        for link in links:
            shape = (link.partition("?")[0], *sorted(part.partition("=")[0] for part in link.partition("?")[2].split("&")))
            if shape not in seen and len(seen) < MOST_LINKS:  # one of each shape
                seen.add(shape)
                visitor.page.goto(link)
                assert visitor.page.locator("#content").inner_text()

    assert any("/job/" in link for link, *_ in seen)
    assert any("/queues/" in link for link, *_ in seen if not link.endswith("/queues/"))


def test_what_is_no_job_at_all_is_shown_where_it_lies(visit, redis):
    raws = [raw for raw in NAMED.values() if len(raw) < 20_000]
    redis.sadd("queues", "default")
    redis.rpush("queue:default", *raws[:200])
    for key in ("retry", "schedule", "dead"):
        scores = [-math.inf, math.inf, 1e300, -1e300, 0, 1.5]
        redis.zadd(key, {raw: scores[place % len(scores)] for place, raw in enumerate(raws[:200])})
    visitor = visit()

    for name, *rest in (*((name,) for name in EVERY_LIST), ("queue", "default")):
        for query in ("", "?p=2"):
            visitor.open(name, *rest, query=query)

    assert visitor.faults() == []


def test_keys_of_unexpected_types_are_no_reason_to_fail(visit, redis):
    for key in ("queues", "processes", "retry", "schedule", "dead", "paused", "stat:processed"):
        redis.rpush(key, "of another type")
    visitor = visit()

    for page in PAGES:
        visitor.open(*page)

    assert visitor.faults() == []


def test_what_ruby_has_written_is_on_the_pages(visit, redis):
    for path in sorted(SAMPLES.glob("*.json")):
        write_sample(redis, sample(path.stem))
    visitor = visit()
    texts = {}

    for name, *rest in (*PAGES, ("job", jid(1))):
        page = visitor.open(name, *rest)
        assert visitor.complaints() == []
        texts[name] = page.locator("#content").inner_text()

    assert "ArgumentError" in texts["retries"]
    assert "Fail" in texts["dead"]
    assert "critical" in texts["queues"]
    assert "ruby-1" in texts["processes"]
    assert "Sleeper" in texts["busy"]
    assert "Echo" in texts["metrics"]
