"""What a supervisor does in Redis for its children, against a real one."""

from __future__ import annotations

import contextlib
import socket
import threading
import time

import pytest

from django_sidekick.broker.ownership import Ownership
from django_sidekick.broker.waiting import Answer
from django_sidekick.exceptions import ConfigurationError
from django_sidekick.worker import custody as module
from django_sidekick.worker import link
from django_sidekick.worker.custody import ChildState, Custody
from django_sidekick.worker.link import Link
from django_sidekick.worker.options import WorkerOptions
from tests.app.jobs import NoopJob
from tests.conftest import wait_until
from tests.workers import child, running

pytestmark = pytest.mark.usefixtures("redis")


@pytest.fixture
def in_force(sidekick_settings, tmp_path):
    return sidekick_settings(RUNTIME_DIR=tmp_path)


def custody_of(settings):
    return Custody(WorkerOptions(settings=settings, queues=(("default", 0),), concurrency=1, shutdown_timeout_s=1.0, tag="tests"))


@pytest.fixture
def custody(in_force):
    return custody_of(in_force)


@pytest.fixture
def children(in_force):
    owned = [Ownership(in_force, ["default"]) for _ in range(3)]
    for own in owned:
        own.register()
    return [ChildState(own.identity, time.time(), quiet=False) for own in owned]


def nothing(identity, name):
    raise AssertionError("no button was pressed")


def test_what_redis_refuses_for_one_child_holds_up_no_other(redis, custody, children, caplog):
    redis.set(f"{children[0].identity}-signals", "text")
    redis.set("queue:default", "text")
    redis.set("dead", "text")
    dead = Ownership(custody._options.settings, ["default"])
    dead.register()
    redis.hset(dead.inflight, "256", "job")
    custody.recover(dead.identity, blame=False)

    custody.turn(children, nothing)
    custody.turn(children, nothing)

    assert redis.smembers("processes") >= {child.identity.encode() for child in children[1:]}
    assert not custody.has_dead, "it rests, so that the supervisor may end"
    assert [r.message.partition(":")[0] for r in caplog.records] == ["Redis refuses"]
    redis.delete("queue:default", "dead")
    custody._recover_at = 0
    custody.turn(children, nothing)
    assert redis.lrange("queue:default", 0, -1) == [b"job"]


def test_a_renewal_that_failed_is_tried_again_within_a_second(redis, custody, children):
    lease = {child.identity: redis.zscore("sk:owners", child.identity) for child in children}
    redis.rename("sk:owners", "elsewhere")
    redis.set("sk:owners", "text")
    custody.turn(children, nothing)
    redis.rename("elsewhere", "sk:owners")
    assert custody._renew_at <= time.monotonic() + module.TRY_AGAIN_S

    def are_renewed():
        custody.turn(children, nothing)
        return all(redis.zscore("sk:owners", identity) > end for identity, end in lease.items())

    wait_until(are_renewed, "the renewal")


def test_a_server_that_hangs_costs_one_time_out_a_turn(sidekick_settings, tmp_path, children, monkeypatch):
    monkeypatch.setattr(module, "SOCKET_TIMEOUT_S", 0.3)
    with socket.create_server(("127.0.0.1", 0)) as deaf:
        settings = sidekick_settings(REDIS=f"redis://127.0.0.1:{deaf.getsockname()[1]}/0", RUNTIME_DIR=tmp_path)
        custody = custody_of(settings)
        began = time.monotonic()
        custody.turn(children, nothing)
        for child in children:
            custody.recover(child.identity, blame=False)
        assert 0.2 < time.monotonic() - began < 2
        assert connections_to(deaf) == 1, "each time-out costs a connection"


def connections_to(listener):
    """Return how many connections wait to be accepted."""
    listener.setblocking(False)
    count = 0
    with contextlib.suppress(BlockingIOError):
        while True:
            listener.accept()[0].close()
            count += 1
    return count


def test_a_child_that_took_a_new_name_is_shown_once(redis, custody, children):
    custody.turn(children[:1], nothing)
    custody.beat_soon(children[0].identity)

    custody.turn(children[1:2], nothing)

    assert redis.smembers("processes") == {children[1].identity.encode()}


def test_a_runtime_directory_that_others_may_write_to_is_refused_before_the_first_fork(sidekick_settings, tmp_path):
    (tmp_path / "open").mkdir()
    (tmp_path / "open").chmod(0o777)
    with pytest.raises(ConfigurationError, match="RUNTIME_DIR"):
        custody_of(sidekick_settings(RUNTIME_DIR=tmp_path / "open"))


class TestChild:
    def test_it_renews_its_lease_whatever_its_supervisor_does(self, redis, in_force):
        ours, theirs = link.pair()
        with running(child(link=Link(theirs))) as worker:
            identity = worker.ownership.identity
            wait_until(lambda: "ready" in dict(ours.hear()), "the start")
            end = redis.zscore("sk:owners", identity)
            wait_until(lambda: redis.zscore("sk:owners", identity) > end + 4, "a renewal", 10)

        assert redis.zcard("sk:owners") == 0

    def test_a_new_identity_is_told_before_anything_is_held_under_it(self, redis, in_force):
        ours, theirs = link.pair()
        worker = child(link=Link(theirs))
        worker.ownership.register()
        redis.rename("sk:owners", "elsewhere")
        redis.set("sk:owners", "text")  # so that it cannot register
        worker.ownership.patience.give_up()
        old = worker.ownership.identity

        with pytest.raises(Exception, match="WRONGTYPE"):
            worker.intake.start_over(old)
        ((what, new),) = ours.hear()
        assert what == "identity"
        assert new == worker.ownership.identity != old

    def test_a_job_whose_end_is_here_is_not_pushed_back(self, redis, in_force):
        worker = child(concurrency=2)
        own, intake = worker.ownership, worker.intake
        own.register()
        NoopJob.perform_bulk([(1,), (2,)])
        ended, runs = own.fetch([0], 2, [])
        for slot, delivery in enumerate((ended, runs)):
            intake.slots.begin(slot, delivery, 1.0)
        intake.finished.append(intake._execute(ended, time.perf_counter()))  # all of its end but the last line

        assert intake.push_back_running() == [runs]
        intake.settle()
        assert own.leave() == 0
        assert redis.llen("queue:default") == 1


class TestLeave:
    def test_who_ends_in_order_is_forgotten_at_once(self, redis, in_force):
        own = Ownership(in_force, ["default"])
        own.register()
        own.fetch([0], 0, [])  # its script is there: behind a wait nobody could send it
        redis.lpush("queue:default", "job")
        own.wait_for_work([0])

        assert own.leave() == 1
        assert redis.keys("sk:*") == []

    def test_whose_wait_was_cut_off_is_remembered(self, redis, in_force):
        own = Ownership(in_force, ["default"])
        own.register()
        cut = threading.Thread(target=self.cut, args=(redis,))
        cut.start()
        assert own.wait.wait([0], 10, own._adoption) == [Answer(None, None, False)]
        cut.join()

        own.leave()
        assert redis.zscore("sk:owners", own.identity) > time.time()
        assert not own.wait._is_open

    def cut(self, redis):
        (wait,) = wait_until(lambda: [c for c in redis.client_list() if "b" in c["flags"]], "the wait")
        redis.client_kill_filter(_id=wait["id"])
