"""Whatever lies in schedule, retry and dead: the scheduler goes on, people's acts are answered, nothing is lost."""

from __future__ import annotations

import collections
import json
import logging
import os
import re

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from django_sidekick.broker.broker import get_broker
from django_sidekick.broker.inspector import Inspector
from django_sidekick.conf import get_settings
from django_sidekick.exceptions import SidekickError
from django_sidekick.wire import codec
from django_sidekick.worker.service import Service
from tests.conftest import wait_until
from tests.worker.nasty import NAMED, PAYLOADS, RAWS, job, written

pytestmark = pytest.mark.filterwarnings("ignore:Do not use the .random. module")
"""The worker's own threads draw their pauses while Hypothesis draws."""
EXAMPLES = int(os.environ.get("SIDEKICK_TEST_EXAMPLES", "60"))
SETS = ("schedule", "retry", "dead")
DUE = ("-inf", "-1e300", "-1", "0", "1e-300", "1")
FAR = ("inf", "1e300", "9e9")
JID = "f" * 24


def everywhere(redis):
    """Each text of a queue or a set, by the name of its key."""
    lists = {key: redis.lrange(key, 0, -1) for key in redis.keys("queue:*")}
    return lists | {name.encode(): redis.zrange(name, 0, -1) for name in SETS}


def origin(text):
    """The text as it was before the scheduler moved it, the spaces around it aside."""
    if b'"class":"(malformed)"' in text:
        return json.loads(text)["args"][0].encode().strip()
    return re.sub(rb',"enqueued_at":\d{13}\}$', b"}", text).strip()


def counted(texts):
    return collections.Counter(re.sub(rb"\s*\}$", b"}", origin(text)) for text in texts)


@pytest.fixture
def service(redis, caplog):
    caplog.set_level(logging.ERROR, "sidekick")
    service = Service(get_settings())
    service.start()
    yield service
    assert service._schedule._thread.is_alive()
    service.stop()
    said = [record.getMessage() for record in caplog.records]
    assert [line for line in said if not line.startswith("Dead, for it was due")] == []


def put(redis, name, members):
    for raw, score in members:
        redis.execute_command("ZADD", name, score, raw)


def move(redis, schedule, retry):
    """Lay both sets out, wait until a good job behind all others is moved, and look where all have gone."""
    redis.delete(*SETS, *redis.keys("queue:*"), "queue:good", "queues")
    put(redis, "schedule", schedule)
    put(redis, "retry", retry)
    put(redis, "schedule", [(job(queue="good"), "2")])
    wait_until(lambda: redis.llen("queue:good"), "the good job")
    for name in ("schedule", "retry"):
        wait_until(lambda key=name: not redis.zcount(key, "-inf", "2"), f"all that is due in {name}")
    there = everywhere(redis)
    far = {name: [raw for raw, score in members if score in FAR] for name, members in (("schedule", schedule), ("retry", retry))}
    assert all(sorted(there[name.encode()]) == sorted(raws) for name, raws in far.items())
    due = {raw for raw, score in schedule if score in DUE}, {raw for raw, score in retry if score in DUE}
    moved = [text for key, texts in there.items() if key not in (b"schedule", b"retry", b"queue:good") for text in texts]
    assert set(counted(moved)) == set(counted([*due[0], *due[1]]))
    assert len(moved) >= len(due[0] | due[1])


def test_nothing_that_has_a_name_stops_the_scheduler_or_is_lost(redis, service):
    named = [(name, raw) for name, raw in NAMED.items() if "slow reader" not in name]
    for index, (_, raw) in enumerate(named):
        move(redis, [(raw, DUE[index % len(DUE)])], [(raw, [*FAR, *DUE][index % 9])])
    assert len(named) > 100


def test_nothing_that_can_be_drawn_stops_the_scheduler_or_is_lost(redis, service):
    members = st.lists(st.tuples(RAWS, st.sampled_from([*DUE, *FAR])), max_size=15, unique_by=lambda pair: pair[0])

    @settings(max_examples=EXAMPLES)
    @given(members, members)
    def scheduled(schedule, retry):
        move(redis, schedule, retry)

    scheduled()


ACTS = {
    "find": lambda inspector, jid: inspector.find(jid),
    "retry": lambda inspector, jid: inspector.retry(jid),
    "kill": lambda inspector, jid: inspector.kill(jid),
    "reschedule": lambda inspector, jid: inspector.reschedule(jid, 5.0),
    "delete": lambda inspector, jid: inspector.delete(jid),
    "cancel": lambda inspector, jid: inspector.cancel(jid),
}


def act_on(redis, what, jid, members):
    """Lay members out in all three sets and act: one job may be moved or taken out, and no other."""
    redis.delete(*SETS, *redis.keys("queue:*"), "queues")
    for index, (raw, score) in enumerate(members):
        put(redis, SETS[index % 3], [(raw, "9e9" if what == "kill" else score)])  # a kill cuts the old off the dead
    before = sum(map(len, everywhere(redis).values()))
    inspector = Inspector(get_broker())

    found = inspector.find(jid)
    try:
        done = ACTS[what](inspector, jid)
    except SidekickError:
        done = False
    inspector.sizes()

    there = everywhere(redis)
    gone = int(bool(done) and what in ("delete", "cancel"))
    assert sum(map(len, there.values())) == before - gone
    texts = {text for kept in there.values() for text in kept}
    others = {raw for raw, _ in members} - {found.raw if found else b""}
    assert others <= texts
    if found and what == "retry" and done:
        assert any(says_the_same(found.raw, text) for text in texts - others)


def says_the_same(raw, text):
    if raw == text or b"[" * 500 in raw:
        return True
    was, now = codec.loads(raw), codec.loads(text)
    return all(repr(was[name]) == repr(now[name]) for name in was.keys() - {"queue", "retry_count", "enqueued_at"})


@pytest.mark.parametrize("what", ACTS)
def test_acts_on_what_has_a_name(redis, what):
    for index, raw in enumerate(NAMED.values()):
        text = raw.replace(b'"jid": "aaaaaaaaaaaaaaaaaaaaaaaa"', b'"jid": "%s"' % JID.encode())
        act_on(redis, what, JID, [*[(b"7", "1")] * (index % 3), (text, "5"), (JID.encode(), "inf"), (b"[" + JID.encode(), "-inf")])


def with_jid(raw, jid):
    return written({**json.loads(raw.decode("utf-8", "surrogatepass")), "jid": jid})


@pytest.mark.parametrize("what", ACTS)
def test_acts_on_what_can_be_drawn(redis, what):
    @settings(max_examples=EXAMPLES)
    @given(st.lists(st.tuples(PAYLOADS, st.sampled_from([*DUE, *FAR])), max_size=4, unique_by=lambda pair: pair[0]), st.text(st.characters(), max_size=5) | st.just(JID))
    @example([], "\ud800")
    def acted(members, jid):
        act_on(redis, what, jid, [(with_jid(raw, jid), score) for raw, score in members])

    acted()


@pytest.mark.parametrize("levels", [250, 300, 900, *range(960, 1000)])
def test_a_job_too_deep_to_be_written_again_is_moved_as_it_is(redis, levels):
    text = b'{"class":"A","args":%s,"jid":"%s"}' % (b"[" * levels + b"]" * levels, JID.encode())
    act_on(redis, "retry", JID, [(b"7", "1"), (text, "5")])
    is_beyond_the_stack = codec.BACKEND == "stdlib" and levels >= 960  # then it is no JSON here, and stays
    assert redis.llen("queue:default") == 1 or is_beyond_the_stack
