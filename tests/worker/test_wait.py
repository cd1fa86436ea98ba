"""What stands behind a wait: the job it brings is held, in the same round trip, and never held twice."""

from __future__ import annotations

import signal
import threading
import time

import pytest
import redis as redis_py

from django_sidekick.broker import scripts, waiting
from django_sidekick.broker.ownership import Ownership
from django_sidekick.broker.waiting import BLOCK_S
from django_sidekick.conf import MOST_QUEUES
from django_sidekick.exceptions import Fenced
from django_sidekick.worker import openqueues
from tests.app.jobs import EchoJob
from tests.conftest import wait_until
from tests.workers import child, running, worker_process

pytestmark = pytest.mark.usefixtures("redis")

LONG_S = 8
"""Of what ends by an event: not by this, on a machine however busy."""


@pytest.fixture
def own(redis, sidekick_settings, tmp_path):
    own = Ownership(sidekick_settings(RUNTIME_DIR=tmp_path), ["high", "low"])
    own.register()
    redis.script_load(scripts.load("fetch").text)
    yield own
    own.close()


def held(redis, own):
    return {int(tag): raw for tag, raw in redis.hgetall(own.inflight).items() if tag.isdigit()}


def blocked(redis):
    return [client for client in redis.client_list() if "b" in client["flags"]]


def in_a_thread(act):
    """Run it beside us. Return a function that waits for what it returned."""
    results = []
    thread = threading.Thread(target=lambda: results.append(act()))
    thread.start()

    def result():
        thread.join(10)
        return results[0]

    return result


def put_aside(redis, own, index, raw):
    redis.lpush(own._wake_keys[index], raw)


def test_a_job_that_ends_a_wait_is_held_without_a_fetch(redis, own):
    redis.lpush("queue:low", "job")
    (delivery,) = own.wait_for_work([0, 1])

    assert (delivery.queue, delivery.raw) == ("low", b"job")
    assert held(redis, own) == {delivery.tag: b"job"}
    assert own.leader._link is None
    assert own.wait.may_have_woken is False


def test_an_idle_worker_makes_two_calls_a_job(redis, monkeypatch):
    """One brings it; one settles it, and finds nothing more. Both stand for one round trip."""
    monkeypatch.setattr(openqueues, "BLOCK_S", 60)  # a wait that ends by its time is followed by a fetch, too
    with running(child()) as worker:
        wait_until(lambda: worker.intake.waiting and blocked(redis), "the worker to wait")
        fetches, before = [], worker.ownership.fetch
        worker.ownership.fetch = lambda *words: fetches.append(words) or before(*words)
        for number in range(5):
            EchoJob.perform_later(number)
            wait_until(lambda n=number: redis.llen("echo") == n + 1, "the job")
            wait_until(lambda: worker.intake.is_idle() and blocked(redis), "the worker to wait again")

        assert len(fetches) == 5


def test_one_job_wakes_one_of_many_processes(redis):
    """Who is woken waits anew: so many waits begin as there were jobs, and those that began because two seconds were over."""
    with worker_process("-p", "3", "-c", "1") as worker:
        wait_until(lambda: redis.zcard("sk:owners") == 3 and len(blocked(redis)) == 3, "three idle processes")
        redis.config_resetstat()
        began = time.monotonic()
        for number in range(40):
            EchoJob.perform_later(number)
            wait_until(lambda n=number: redis.llen("echo") == n + 1, "the job")
            wait_until(lambda: len(blocked(redis)) == 3, "it to wait again")
        waits = redis.info("commandstats")["cmdstat_blmove"]["calls"]
        over = 3 * (1 + (time.monotonic() - began) / BLOCK_S)
        worker.send(signal.SIGTERM)
        assert worker.wait() == 0

    print(f"40 jobs pushed to 3 idle processes: {waits} waits, at most {over:.1f} for their time")
    assert 40 <= waits <= 40 + over


def test_of_several_that_come_at_once_all_are_held_in_the_turns_order(redis, own):
    waits = in_a_thread(lambda: own.wait_for_work([0, 1], LONG_S))
    wait_until(lambda: len(blocked(redis)) == 2, "both waits")
    together = redis.pipeline(transaction=True)
    together.lpush("queue:low", "second").lpush("queue:high", "first").execute()

    assert [delivery.raw for delivery in waits()] == [b"first", b"second"]
    assert sorted(held(redis, own).values()) == [b"first", b"second"]


def test_one_wait_calls_off_all_others(redis, sidekick_settings, monkeypatch):
    monkeypatch.setattr(waiting, "CALL_OFF_AGAIN_S", LONG_S)  # a server held up between two answers is asked once more
    own = Ownership(sidekick_settings(), [f"q{number}" for number in range(20)])
    own.register()
    waits = in_a_thread(lambda: own.wait_for_work(range(20), LONG_S))
    wait_until(lambda: len(blocked(redis)) == 20, "all waits")
    redis.config_resetstat()
    redis.lpush("queue:q7", "job")

    assert [delivery.queue for delivery in waits()] == ["q7"]
    assert blocked(redis) == []
    assert redis.info("commandstats")["cmdstat_client|unblock"]["calls"] == 20  # the ring, and nobody asked once more
    own.close()


def test_what_a_lost_reply_has_brought_comes_with_the_next_wait(redis, own):
    put_aside(redis, own, 1, "job")
    redis.execute_command(*own._adoption(1))  # its reply is read by nobody

    assert [delivery.raw for delivery in own.wait_for_work([0, 1], 0.05)] == [b"job"]
    put_aside(redis, own, 1, "later")
    assert own.wait.may_have_woken
    assert [delivery.raw for delivery in own.fetch([0, 1], 1, [])] == [b"later"]


def test_what_a_cut_wait_has_brought_is_asked_for_before_the_next_wait(redis, own, monkeypatch):
    """Where connections are cut again and again no wait comes to its end, and what the first has taken would lie there."""
    waits, wait, read = [], own.wait.wait, waiting._answer

    def cut(link, **keys):
        read(link, **keys)
        raise redis_py.ConnectionError("the reply is lost")

    def counted(*words):
        waits.append(words)
        return wait(*words)

    monkeypatch.setattr(waiting, "_answer", cut)
    monkeypatch.setattr(own.wait, "wait", counted)
    redis.lpush("queue:high", "job")

    (delivery,) = own.wait_for_work([0])

    assert delivery.raw == b"job"
    assert len(waits) == 1


def test_a_command_that_comes_late_takes_nothing_and_gives_no_number_twice(redis, own):
    late = own._adoption(1)
    redis.lpush("queue:low", "one")
    own.wait_for_work([0, 1])
    redis.lpush("queue:low", "two")
    own.wait_for_work([0, 1])
    before = held(redis, own)
    put_aside(redis, own, 1, "three")

    assert redis.execute_command(*late) is None
    assert held(redis, own) == before
    assert redis.lrange(own._wake_keys[1], 0, -1) == [b"three"]


def test_a_server_that_has_forgotten_the_script_is_told_it(redis, own):
    own.fetch([0, 1], 1, [])
    redis.script_flush()
    redis.lpush("queue:low", "job")

    assert [delivery.raw for delivery in own.wait_for_work([0, 1])] == [b"job"]


def test_whose_jobs_were_taken_over_gets_none_by_a_wait(redis, own):
    redis.hdel(own.inflight, "epoch")
    redis.lpush("queue:low", "job")

    with pytest.raises(Fenced):
        own.wait_for_work([0, 1])
    assert held(redis, own) == {}
    assert redis.lrange(own._wake_keys[1], 0, -1) == [b"job"]


def test_as_many_queues_as_a_worker_may_read_are_all_waited_for(redis):
    """redis-py's pools hold 100 connections, unless they are told otherwise."""
    with running(child(*(f"queue-{number}" for number in range(MOST_QUEUES)))):
        wait_until(lambda: len(blocked(redis)) == MOST_QUEUES, "all waits")
        EchoJob.set(queue="queue-200").perform_later(1)
        wait_until(lambda: redis.llen("echo"), "the job")


def test_an_emptied_server_loses_no_job_that_comes_afterwards(redis):
    """The open wait puts it aside for a name that nobody knows any more."""
    with running(child()) as worker:
        wait_until(lambda: blocked(redis), "the wait")
        redis.flushall()
        EchoJob.perform_later("after")
        wait_until(lambda: redis.llen("echo"), "the job")
        wait_until(worker.intake.is_idle, "its end")

    assert not [key for key in redis.keys("sk:*") if b"wake" in key]


def test_a_user_who_may_not_unblock_reads_several_queues_all_the_same(redis, redis_url, sidekick_settings):
    redis.acl_setuser("app", enabled=True, passwords=["+pw"], keys=["*"], channels=["*"], categories=["+@all", "-@dangerous"])
    sidekick_settings(REDIS=redis_url.replace("//", "//app:pw@"))
    try:
        with running(child("high", "middle", "low")) as worker:
            absence = worker.ownership.patience.absence
            warned_at = absence._warned_at  # perhaps by a test before: there is one for each server
            for number, queue in enumerate(("low", "middle", "high", "low"), 1):
                wait_until(lambda: blocked(redis), "the wait")
                EchoJob.set(queue=queue).perform_later(number)
                wait_until(lambda number=number: redis.llen("echo") == number, "the job")
            assert absence._warned_at == warned_at
    finally:
        redis.acl_deluser("app")


def test_a_wait_that_cannot_be_made_leaves_no_connection_behind(redis, redis_url, sidekick_settings):
    redis.acl_setuser("app", enabled=True, passwords=["+pw"], keys=["*"], commands=["+@all", "-client|id"])
    settings = sidekick_settings(REDIS=redis_url.replace("//", "//app:pw@"))
    try:
        wait = waiting.QueueWait(settings, ["queue:one"], ["wake:one"])
        before = redis.info("clients")["connected_clients"]
        for _ in range(5):
            with pytest.raises(redis_py.exceptions.NoPermissionError):
                wait.wait([0], 1, lambda index: ["PING"])
        wait_until(lambda: redis.info("clients")["connected_clients"] <= before, "the server to know of their end")
    finally:
        redis.acl_deluser("app")


def test_nothing_begins_that_ends_the_wait_of_a_quiet_worker(redis):
    with running(child()) as worker:
        wait_until(lambda: worker.intake.waiting and blocked(redis), "the worker to wait")
        worker.intake.stop_fetching()
        EchoJob.perform_later()
        wait_until(lambda: not blocked(redis) and not worker.intake.waiting, "the end of the wait")

        assert redis.llen("queue:default") == 1
        assert held(redis, worker.ownership) == {}
        assert redis.exists("echo") == 0


def test_a_queue_whose_key_is_no_list_holds_up_no_other(redis):
    redis.set("queue:odd", "text")
    with running(child("odd", "default")):
        for number in range(3):
            EchoJob.perform_later(number)
            wait_until(lambda n=number: redis.llen("echo") == n + 1, "the job")


class TestAKeyThatBecomesNoList:
    """After a job was taken from it: the job is in one place, and so are those of other queues."""

    def test_paused(self, redis, own):
        put_aside(redis, own, 0, "one")
        put_aside(redis, own, 1, "two")
        redis.set("queue:low", "text")
        redis.sadd("paused", "low")

        assert [delivery.raw for delivery in own.fetch([0, 1], 1, [])] == [b"one"]
        assert redis.zrange("dead", 0, -1) == [b"two"]

    def test_paused_and_no_place_for_the_dead(self, redis, own):
        put_aside(redis, own, 0, "one")
        put_aside(redis, own, 1, "two")
        for key in ("queue:low", "dead"):
            redis.set(key, "text")
        redis.sadd("paused", "low")

        assert [delivery.raw for delivery in own.fetch([0, 1], 1, [])] == [b"one"]
        assert redis.lrange(own._wake_keys[1], 0, -1) == [b"two"]

    def test_when_the_worker_ends(self, redis, own):
        put_aside(redis, own, 0, "one")
        put_aside(redis, own, 1, "two")
        redis.set("queue:low", "text")
        own.return_woken()

        assert redis.lrange("queue:high", 0, -1) == [b"one"]
        assert redis.zrange("dead", 0, -1) == [b"two"]
        assert held(redis, own) == {}


def test_a_server_that_hangs_holds_up_no_calling_off(redis):
    with running(child("default")) as worker:
        wait_until(lambda: blocked(redis), "the wait")
        redis.execute_command("CLIENT", "PAUSE", 5000, "ALL")
        began = time.monotonic()
        worker._call_off()
        took_s = time.monotonic() - began
        redis.execute_command("CLIENT", "UNPAUSE")
    assert took_s < 4, took_s


def test_what_was_put_aside_goes_back_in_its_old_order(redis, own):
    for raw in ("one", "two", "three"):
        put_aside(redis, own, 1, raw)
    redis.sadd("paused", "low")
    own.fetch([0, 1], 1, [])

    assert redis.lrange("queue:low", 0, -1) == [b"three", b"two", b"one"]
