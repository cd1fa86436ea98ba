"""Threads that have nothing to do: none is called for nothing, none sleeps through a call."""

from __future__ import annotations

import threading

import pytest

from django_sidekick.worker.standby import Standby
from tests.app.jobs import EchoJob, GateJob
from tests.conftest import wait_until
from tests.workers import child, running


def sleepers(standby, count, arrived, goes_on=lambda: False):
    threads = [
        threading.Thread(target=lambda slot=slot: (standby.wait(slot, goes_on), arrived.append(slot)), daemon=True)
        for slot in range(count)
    ]
    for thread in threads:
        thread.start()
    return threads


def test_one_call_wakes_one_thread():
    standby, arrived = Standby(3), []
    sleepers(standby, 3, arrived)
    wait_until(lambda: len(standby.idle) == 3, "three sleepers")

    standby.call_one()

    wait_until(lambda: len(arrived) == 1 and not standby.one_is_coming, "the one that was called")
    assert len(standby.idle) == 2
    standby.call_all()
    wait_until(lambda: len(arrived) == 3, "all")


def test_a_call_that_finds_nobody_is_forgotten():
    standby = Standby(1)

    standby.call_one()

    assert not standby.one_is_coming


def test_a_thread_that_is_needed_does_not_fall_asleep():
    standby, arrived = Standby(1), []
    sleepers(standby, 1, arrived, goes_on=lambda: True)

    wait_until(lambda: arrived == [0], "the thread to go on")
    assert not standby.idle


def test_no_call_is_slept_through():
    """Work appears at every moment of falling asleep: 20,000 handovers between two threads, none is lost."""
    standby, todo, seen = Standby(1), [], []

    def work():
        while len(seen) < 20_000:
            if todo:
                seen.append(todo.pop())
            else:
                standby.wait(0, lambda: bool(todo))

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    for number in range(20_000):
        todo.append(number)
        if standby.idle and not standby.one_is_coming:
            standby.call_one()
    standby.call_all()

    thread.join(15)
    assert not thread.is_alive()


@pytest.mark.usefixtures("redis")
def test_every_thread_is_called_when_jobs_are_long(redis):
    with running(child(concurrency=8)) as worker:
        wait_until(lambda: worker.intake.waiting, "the worker to wait")
        GateJob.perform_bulk([(number,) for number in range(7)])
        wait_until(lambda: redis.llen("began") == 7, "seven long jobs at once", 5)
        EchoJob.perform_later("the eighth thread leads")
        wait_until(lambda: redis.llen("echo"), "the job of the eighth thread", 5)
        redis.rpush("gate", *range(7))
        wait_until(lambda: redis.llen("ended") == 7, "the end of all")
