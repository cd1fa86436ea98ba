from __future__ import annotations

import pytest

from django_sidekick.wire import event
from django_sidekick.wire.outcome import Outcome
from tests.app.jobs import EchoJob, NoopJob
from tests.conftest import wait_until
from tests.workers import child, running

FULL = {"HISTORY_STREAM_MAX_MIB": 1}


def fill(redis, mib=1):
    redis.set("sk:events:bytes", mib * 2**20)
    redis.xadd("sk:events", {"b": "what waits"})


def settled(own, jobs=3):
    """Run so many jobs; return their acknowledgement's answer."""
    NoopJob.perform_bulk([(number,) for number in range(jobs)])
    outcomes = [Outcome("done", delivery, {}) for delivery in own.fetch([0], jobs, [])]
    return own.acknowledge(outcomes, event.encode("w", outcomes))


@pytest.fixture
def own(redis, sidekick_settings):
    sidekick_settings(**FULL)
    own = child().ownership
    own.register()
    yield own
    own.close()


def test_the_bytes_of_the_stream_are_counted(redis, own):
    settled(own)

    ((_, fields),) = redis.xrange("sk:events")
    assert int(redis.get("sk:events:bytes")) == len(fields[b"b"])


def test_a_full_stream_drops_and_counts_and_settles_all_the_same(redis, own):
    fill(redis)

    assert settled(own, 3) == 3
    assert redis.xlen("sk:events") == 1
    assert int(redis.get("sk:events:dropped")) == 3


@pytest.mark.parametrize("empty", ["delete", "xtrim"])
@pytest.mark.parametrize("overflow", ["drop", "throttle"])
def test_a_stream_that_somebody_has_emptied_is_not_full_any_more(redis, sidekick_settings, overflow, empty):
    sidekick_settings(**FULL, HISTORY_OVERFLOW=overflow)
    own = child().ownership
    own.register()
    fill(redis)
    redis.delete("sk:events") if empty == "delete" else redis.xtrim("sk:events", 0, approximate=False)

    assert settled(own, 3) == 3
    ((_, fields),) = redis.xrange("sk:events")
    assert (int(redis.get("sk:events:bytes")), redis.get("sk:events:dropped")) == (len(fields[b"b"]), None)
    own.close()


def test_a_stream_of_another_type_keeps_no_job(redis, own):
    redis.set("sk:events", "no stream")

    assert settled(own, 2) == 2
    assert int(redis.get("sk:events:dropped")) == 2


def test_with_throttle_nothing_is_fetched_while_the_stream_is_full_and_no_event_is_dropped(redis, sidekick_settings):
    sidekick_settings(**FULL, HISTORY_OVERFLOW="throttle")
    with running(child(events_of=event.encode)) as worker:
        EchoJob.perform_later("before")
        wait_until(lambda: redis.llen("echo") == 1, "the first job")
        wait_until(lambda: redis.xlen("sk:events") == 1, "its acknowledgement")
        fill(redis)
        EchoJob.perform_later("after")
        wait_until(lambda: redis.llen("queue:default") == 1 and worker.ownership._is_throttled, "the throttle")
        assert redis.llen("echo") == 1
        assert redis.get("sk:events:dropped") is None
        redis.delete("sk:events:bytes")
        wait_until(lambda: redis.llen("echo") == 2, "the job, once there is room")


def test_with_throttle_what_ends_while_the_stream_is_full_is_settled_with_its_event(redis, sidekick_settings):
    sidekick_settings(**FULL, HISTORY_OVERFLOW="throttle")
    own = child().ownership
    own.register()
    NoopJob.perform_later()
    outcomes = [Outcome("done", delivery, {}) for delivery in own.fetch([0], 1, [])]
    fill(redis)
    NoopJob.perform_later()

    assert own.fetch([0], 1, outcomes, event.encode("w", outcomes)) == []
    assert redis.xlen("sk:events") == 2
    assert redis.llen("queue:default") == 1
    own.close()


def test_a_throttle_without_history_holds_nobody_up(redis, sidekick_settings):
    sidekick_settings(**FULL, HISTORY_OVERFLOW="throttle", HISTORY="off")
    fill(redis)
    own = child().ownership
    own.register()
    NoopJob.perform_later()

    assert len(own.fetch([0], 1, [])) == 1
    own.close()
