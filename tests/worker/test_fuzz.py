"""Whatever lies in a queue or a set: the worker goes on, and each payload ends in one place."""

from __future__ import annotations

import base64
import collections
import fcntl
import io
import json
import logging
import os
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from django_sidekick.broker.recovery import OwnerRegister
from django_sidekick.exceptions import MalformedPayload
from django_sidekick.jobs import mirrored
from django_sidekick.jobs.registry import JOBS
from django_sidekick.wire import codec, event
from django_sidekick.wire.payload import parse
from django_sidekick.worker.joblog import JobLog
from django_sidekick.worker.journal import Journal
from django_sidekick.worker.recovery import TakeOver
from tests.app.jobs import EchoJob
from tests.conftest import wait_until
from tests.worker.nasty import NAMED, RAWS
from tests.worker.test_recovery import Dead
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
    if wrapped.get("retry", 1) is None:  # then the class says
        wrapped["retry"] = read.get("retry")
    read, wrapped = _others(read), _others(wrapped)
    try:
        return repr(read) == repr(wrapped)  # of NaN too
    except ValueError:  # more digits than Python makes a text of
        return read == wrapped


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


@pytest.fixture(params=["text", "json"])
def hungry(request, redis, caplog, sidekick_settings):
    """All that a real worker is put together of: a job log, the events of the mirror, handlers of errors. The tests' events are beside them."""
    settings = sidekick_settings(HISTORY="finished", ERROR_HANDLERS=["tests.worker.test_fuzz.handle"])
    caplog.set_level(logging.ERROR, "sidekick")
    of_the_mirror, log = mirrored.events_of(settings, JOBS), io.StringIO()

    def both(worker, outcomes):
        check_blob(of_the_mirror(worker, outcomes))
        return events_of(worker, outcomes)

    worker = child(events_of=both, job_log=JobLog(request.param, log))
    with running(worker):
        wait_until(lambda: all(thread.is_alive() for thread in worker._workers), "all its threads")
        yield Hungry(redis, worker, caplog)
    lines = log.getvalue().splitlines()
    assert [line for line in lines if not (request.param == "text" or json.loads(line)["message"] in ("start", "done", "fail"))] == []
    assert lines


def check_blob(blob):
    """The recorder can read it."""
    if blob:
        event.decode(blob)


def handle(error, context):
    """An error handler as people write them: it puts everything into one text."""
    logging.getLogger("handlers").info("%s: %s %s", error, context.get("payload"), getattr(context.get("job"), "jid", None))


def test_nothing_that_has_a_name_stops_a_worker_or_is_lost(hungry):
    for name, raw in NAMED.items():
        hungry.eat([raw], name)


def test_nothing_that_can_be_drawn_stops_a_worker_or_is_lost(hungry):
    @settings(max_examples=EXAMPLES)
    @given(st.lists(RAWS, min_size=1, max_size=30, unique=True))
    def feed(raws):
        hungry.eat(raws)

    feed()


class TestOfTheDead:
    """What a process held that has died: its journal names payloads that nobody should ever have put into a queue."""

    @pytest.fixture
    def take_over(self, redis, broker, sidekick_settings, tmp_path):
        self.settings = sidekick_settings(HISTORY="finished", RUNTIME_DIR=tmp_path)
        of_the_mirror = mirrored.events_of(self.settings, JOBS)

        def both(worker, outcomes):
            check_blob(of_the_mirror(worker, outcomes))
            return events_of(worker, outcomes)

        return TakeOver(OwnerRegister(broker.client, self.settings), self.settings, both)

    def die(self, take_over, raws, say):
        """Hold all that waits, and die; `say` writes into the journal. Return how many jobs were settled, and buried."""
        dead = Dead(self.settings)
        dead.journal = Journal(dead.journal.path, len(raws), 2 * len(raws))
        fcntl.flock(dead.journal._file, fcntl.LOCK_UN)
        for number, delivery in enumerate(dead.fetch(len(raws))):
            say(dead.journal, number, delivery)
        settled = buried = 0
        is_left = True
        while is_left:
            taken = take_over.slice(dead.own.identity, certain=True)
            settled, buried, is_left = settled + taken.settled, buried + taken.buried, taken.more
        return settled, buried

    def test_what_was_running_comes_back_twice_and_is_dead_then(self, redis, take_over):
        raws = sorted({*NAMED.values()})
        redis.lpush("queue:default", *raws)

        def runs(journal, number, delivery):
            journal.since[number], journal.tags[number] = 1.0, delivery.tag

        for _ in range(2):
            assert self.die(take_over, raws, runs) == (0, 0)
            assert collections.Counter(redis.lrange("queue:default", 0, -1)) == collections.Counter(raws)
        assert self.die(take_over, raws, runs) == (0, len(raws))
        assert redis.llen("queue:default") == 0
        buried = [end for end in ends(redis) if end[0] == "dead"]
        assert collections.Counter(raw for _, raw, _ in buried) == collections.Counter(raws)
        assert {kept for _, _, kept in buried} == {*redis.zrange("dead", 0, -1)}
        assert [(raw, kept) for _, raw, kept in buried if kept != raw and not says_the_same(raw, kept)] == []

    def test_what_was_finished_is_settled_and_what_is_no_job_runs_again(self, redis, take_over):
        """Only what could be read is ever marked as finished."""
        raws = [raw for raw in sorted({*NAMED.values()}) if is_object(raw)]
        redis.lpush("queue:default", *raws)

        def is_finished(journal, number, delivery):
            journal.mark_finished(delivery.tag * (1 if number % 2 else -1), 1000.0, 0.5)

        assert self.die(take_over, raws, is_finished) == (len(raws), 0)
        assert redis.llen("queue:default") == 0
        assert collections.Counter(raw for _, raw, _ in ends(redis)) == collections.Counter(raws)
        assert {kind for kind, *_ in ends(redis)} == {"done", "discarded"}


def is_object(raw):
    try:
        return isinstance(parse(raw), dict)
    except MalformedPayload:
        return False
