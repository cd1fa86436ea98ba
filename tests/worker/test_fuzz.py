"""Whatever lies in a queue or a set: the worker goes on, and each payload ends in one place."""

from __future__ import annotations

import base64
import collections
import json
import logging
import os
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from django_sidekick.wire import codec
from tests.app.jobs import EchoJob
from tests.conftest import wait_until
from tests.worker.nasty import NAMED, RAWS
from tests.workers import child, running

pytestmark = pytest.mark.filterwarnings("ignore:Do not use the .random. module")
"""The worker's own threads draw their pauses while Hypothesis draws."""
EXAMPLES = int(os.environ.get("SIDEKICK_TEST_EXAMPLES", "60"))
DEEP = b"[" * 500
ADDED = {
    "error_message", "error_class", "failed_at", "retried_at", "retry_count", "error_backtrace", "queue", "enqueued_at",
}  # fmt: skip


def events_of(worker, outcomes):
    """Say of each outcome what it was and where it goes: written only with its acknowledgement."""
    texts = [[o.kind, *(base64.b64encode(raw or b"").decode() for raw in (o.delivery.raw, o.member))] for o in outcomes]
    return json.dumps(texts).encode()


def ends(redis):
    """Kind, payload and kept text of each acknowledged job."""
    lines = [line for _, fields in redis.xrange("sk:events") for line in json.loads(fields[b"b"])]
    return [(kind, base64.b64decode(raw), base64.b64decode(member)) for kind, raw, member in lines]


def says_the_same(raw, kept):
    """The kept text is the payload itself, or holds all of it, a failure's fields aside."""
    if kept == raw:
        return True
    if DEEP in raw:  # no reader that compares goes so deep
        return max(re.findall(rb"\[+", raw)) in kept
    read, wrapped = codec.loads(kept), codec.loads(raw)
    if not isinstance(wrapped, dict):
        return read["class"] == "(malformed)" and read["args"] == [raw.decode(errors="replace")]
    return repr(_others(read)) == repr(_others(wrapped))


def _others(payload):
    return {name: value for name, value in sorted(payload.items()) if name not in ADDED}


class Hungry:
    """A running worker that is fed batches of anything and must be as good as new after each."""

    def __init__(self, redis, worker, caplog):
        self.redis, self.worker, self.caplog = redis, worker, caplog

    def eat(self, raws, what="all to be acknowledged"):
        self.redis.delete("retry", "dead", "sk:events", "echo", "queue:default")
        self.redis.lpush("queue:default", *raws)
        EchoJob.perform_later("alive")
        wait_until(lambda: self.redis.llen("echo"), f"the good job behind {what}")
        wait_until(lambda: len(ends(self.redis)) > len(raws), what, 5)
        self.check(raws, what)

    def check(self, raws, what):
        ended = [end for end in ends(self.redis) if b"EchoJob" not in end[1]]
        assert collections.Counter(raw for _, raw, _ in ended) == collections.Counter(raws), what
        for name in ("retry", "dead"):
            kept = {member for kind, _, member in ended if kind == name}
            assert set(self.redis.zrange(name, 0, -1)) == kept, what
        assert [(raw, kept) for _, raw, kept in ended if kept and not says_the_same(raw, kept)] == [], what
        assert self.redis.llen("queue:default") == 0, what
        assert not any(field.isdigit() for field in self.redis.hkeys(self.worker.ownership.inflight)), what
        self.check_threads(what)

    def check_threads(self, what):
        tickers = [*self.worker._tickers, *self.worker.service._tickers]
        assert all(thread.is_alive() for thread in self.worker._workers), what
        assert all(ticker._thread.is_alive() for ticker in tickers), what
        self.worker._counts.write()
        said = [record.getMessage() for record in self.caplog.records]
        assert [text for text in said if "it goes on" in text or "stays in flight" in text] == [], what
        self.caplog.clear()


@pytest.fixture
def hungry(redis, caplog):
    caplog.set_level(logging.ERROR, "sidekick")
    with running(child(events_of=events_of)) as worker:
        yield Hungry(redis, worker, caplog)


def test_nothing_that_has_a_name_stops_a_worker_or_is_lost(hungry):
    for name, raw in NAMED.items():
        hungry.eat([raw], name)


def test_nothing_that_can_be_drawn_stops_a_worker_or_is_lost(hungry):
    @settings(max_examples=EXAMPLES)
    @given(st.lists(RAWS, min_size=1, max_size=30, unique=True))
    def feed(raws):
        hungry.eat(raws)

    feed()
