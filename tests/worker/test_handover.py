"""How coroutine jobs get to the event loop: decoded once, there if they are known by their text, and none is lost on the way."""

from __future__ import annotations

import asyncio
import threading

import pytest

from django_sidekick import BaseJob
from django_sidekick.worker.handover import Handover
from tests.conftest import wait_until
from tests.worker.family import let_nothing_come_back
from tests.workers import child, running

pytestmark = pytest.mark.usefixtures("redis")

MADE: list[str] = []
RAN: list[tuple[object, str]] = []
GATES: list[asyncio.Event] = []


@pytest.fixture(autouse=True)
def clean(monkeypatch):
    MADE.clear()
    RAN.clear()
    GATES.clear()
    let_nothing_come_back(monkeypatch)  # what goes back from a loop held up is decoded again, and comes later


def this_thread():
    return threading.current_thread().name.partition("-job-")[0]


class NotedJob(BaseJob):
    """Note where the job is made, which is where its payload is decoded."""

    def __init__(self):
        super().__init__()
        MADE.append(this_thread())


class OnLoopJob(NotedJob):
    async def perform(self, number):
        RAN.append((number, this_thread()))


class OtherOnLoopJob(OnLoopJob):
    pass


class InThreadJob(NotedJob):
    def perform(self, number, *more):
        RAN.append((number, this_thread()))


class HeldJob(BaseJob):
    async def perform(self):
        gate = asyncio.Event()
        GATES.append(gate)
        await gate.wait()


def run_all(jobs):
    """Push to a worker that is not there yet, so that they come in one fetch; return when all have run."""
    for job_class, *args in jobs:
        job_class.perform_later(*args)
    MADE.clear()
    with running(child(concurrency=1)) as worker:
        wait_until(lambda: len(RAN) >= len(jobs) and worker.intake.is_idle(), "all jobs")
        assert worker.intake.done == len(jobs)


def test_the_first_is_decoded_in_a_thread_and_those_behind_it_on_the_loop():
    run_all([(OnLoopJob, number) for number in range(100)])

    assert [number for number, _ in RAN] == list(range(100))
    assert len(MADE) == 100
    assert MADE.count("sidekick") < 5  # one for each fetch that was begun before the first was known
    assert {thread for _, thread in RAN} == {"sidekick-loop"}


def test_each_is_decoded_once_whatever_stands_beside_it():
    kinds = [OnLoopJob, InThreadJob, OtherOnLoopJob, OnLoopJob, OnLoopJob, InThreadJob, InThreadJob, OtherOnLoopJob]
    run_all([(kinds[number % len(kinds)], number) for number in range(160)])

    assert len(MADE) == 160
    assert sorted(number for number, _ in RAN) == list(range(160))
    threads = dict(RAN)
    assert all((threads[number] == "sidekick") == (kinds[number % len(kinds)] is InThreadJob) for number in range(160))


def test_a_job_that_only_looks_like_one_runs_once_in_a_thread(redis):
    lure = {"class": OnLoopJob.name}
    run_all([(OnLoopJob, 0), (InThreadJob, 1, lure), (OnLoopJob, 2), (InThreadJob, 3, lure), (OnLoopJob, 4), (OnLoopJob, 5)])

    assert sorted(RAN) == [(n, "sidekick" if n in (1, 3) else "sidekick-loop") for n in range(6)]
    assert redis.llen("queue:default") == redis.zcard("retry") == redis.zcard("dead") == 0


def test_a_likeness_that_has_misled_is_not_learnt_again(redis):
    """Else the two would go round: brought as one, released as the other."""
    lure = {"class": OnLoopJob.name}
    with running(child(concurrency=1)) as worker:
        OnLoopJob.perform_bulk([(number,) for number in range(3)])
        wait_until(lambda: len(RAN) == 3, "the sign to be learnt")
        assert worker.intake._handover.sign
        InThreadJob.perform_later(3, lure)
        wait_until(lambda: len(RAN) == 4, "the other kind")
        assert not worker.intake._handover.sign
        MADE.clear()
        OnLoopJob.perform_bulk([(number,) for number in range(4, 24)])
        wait_until(lambda: len(RAN) == 24, "more of the first")
        assert not worker.intake._handover.sign

    assert MADE == ["sidekick"] * 20
    assert len(RAN) == 24


@pytest.mark.parametrize("rest", ['"args":', '"args":[7],"jid":"b"', '"args":7,"jid":"b"}'], ids=["cut", "open", "args"])
def test_a_broken_payload_that_looks_like_one_is_buried(redis, rest):
    with running(child(concurrency=1)) as worker:
        OnLoopJob.perform_later(0)
        wait_until(lambda: worker.intake._handover.sign, "the sign to be learnt")
        redis.lpush("queue:default", f'{{"class":"{OnLoopJob.name}",{rest}')
        wait_until(lambda: redis.zcard("dead") == 1, "the burial")
        OnLoopJob.perform_later(1)
        wait_until(lambda: len(RAN) == 2, "the next job")


def test_what_waits_for_the_loop_is_dropped_when_recovery_has_taken_it(redis):
    """Else it would run here and where it was taken to."""
    worker = child(concurrency=1)
    worker.ownership.register()
    OnLoopJob.perform_bulk([(number,) for number in range(3)])
    intake = worker.intake
    intake.loop.call = lambda: None
    intake._receive(worker.ownership.fetch([0], 3, []), worker.ownership.identity)
    intake._handover.pass_alike(0, intake.buffer.popleft(), b"OnLoopJob")
    assert (len(intake.loop.waiting), intake.done) == (3, 0)

    intake.start_over(worker.ownership.identity)

    assert not intake.loop.waiting
    assert intake.done == 0
    assert redis.llen("queue:default") == 3


def test_what_has_not_the_sign_goes_back_to_the_front_of_the_buffer(redis):
    worker = child(concurrency=1)
    worker.ownership.register()
    for job_class in (OnLoopJob, OnLoopJob, InThreadJob, OnLoopJob):
        job_class.perform_later(0)
    deliveries = worker.ownership.fetch([0], 4, [])
    intake = worker.intake
    intake.buffer.extend(deliveries)
    intake.loop.call = lambda: None

    handover: Handover = intake._handover
    handover.pass_alike(0, intake.buffer.popleft(), b'"class":"%b"' % OnLoopJob.name.encode())

    assert list(intake.loop.waiting) == deliveries[:2]
    assert list(intake.buffer) == deliveries[2:]
    assert intake.slots.busy == 0
