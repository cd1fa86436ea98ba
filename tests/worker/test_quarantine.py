"""A job that kills its process takes its neighbours down with it, but not into the grave."""

from __future__ import annotations

import collections
import json
import signal

import pytest

from django_sidekick.broker.quarantine import Quarantine
from django_sidekick.worker.blame import verdict
from tests.app.jobs import AsyncGateJob, EchoJob, ExitJob, FailJob, GateJob, KillJob
from tests.conftest import wait_until
from tests.worker.family import children_of, kept, members, ready, settings_module
from tests.workers import worker_process

pytestmark = pytest.mark.usefixtures("redis")

PATIENT_S = 15.0
"""For a killer whose bystanders are in the same process: it waits until they have begun, on a busy machine too."""


def dead(redis):
    return [json.loads(raw) for raw in redis.zrange("dead", 0, -1)]


def kills(redis):
    """Return how often each job has killed a process."""
    return collections.Counter(entry.split(b":")[0].decode() for entry in redis.lrange("killed", 0, -1))


def deaths(redis, jid):
    return redis.zcard(f"sk:crashes:{jid}")


def let_pass(redis, bystanders, buried=1000):
    """Open the gate for all once they are put apart: before, they only ever run beside the killers.

    Or once so many killers are buried: of two processes the bystander's may have been the other one.
    """
    wait_until(lambda: all(deaths(redis, job.jid) == 2 for job in bystanders) or redis.zcard("dead") == buried, "two deaths of each", 30)
    redis.rpush("gate", *range(len(bystanders)))
    wait_until(lambda: redis.llen("ended") == len(bystanders), "the bystanders", 30)


def end(worker):
    worker.send(signal.SIGTERM)
    assert worker.wait(30) == 0, worker.output()


def test_who_ran_beside_a_killer_is_run_alone_and_not_buried(redis):
    with worker_process("-p", "1", "-c", "10") as worker:
        bystanders = [GateJob.perform_later(n) for n in range(2)] + [AsyncGateJob.perform_later(n) for n in (2, 3)]
        killer = KillJob.perform_later(4, PATIENT_S)
        let_pass(redis, bystanders)
        wait_until(lambda: redis.zcard("dead"), "the killer's burial", 30)
        wait_until(lambda: not any(deaths(redis, job.jid) for job in bystanders), "what ended well to be suspected no more", 30)
        end(worker)

    assert [(grave["jid"], grave["error_class"], grave["queue"]) for grave in dead(redis)] == [(killer.jid, "ProcessDied", "default")]
    assert kills(redis) == {killer.jid: 3}
    assert sorted(redis.lrange("ended", 0, -1)) == [b"0", b"1", b"2", b"3"]
    assert redis.llen("queue:default:quarantine") == 0


def test_two_killers_beside_one_another_are_both_buried_the_third_time(redis):
    with worker_process("-p", "2", "-c", "10") as worker:
        bystander = GateJob.perform_later(1)
        killers = [KillJob.perform_later(1) for _ in range(2)]
        let_pass(redis, [bystander], buried=2)
        wait_until(lambda: redis.zcard("dead") == 2, "both burials", 30)
        EchoJob.perform_later()
        wait_until(lambda: redis.llen("echo"), "the work to go on")
        end(worker)

    assert {grave["jid"] for grave in dead(redis)} == {job.jid for job in killers}
    assert all(1 <= count <= 3 for count in kills(redis).values()), "the third death is its own at the latest"
    assert redis.lrange("ended", 0, -1) == [b"1"]


def test_a_bystander_is_not_buried_however_many_killers_come(redis, tmp_path):
    hasty = settings_module(tmp_path, "hasty", "from django_sidekick.worker import supervised\nsupervised.FIRST_PAUSE_S = 0.01\n")
    with worker_process("-p", "1", "-c", "4", **hasty) as worker:
        bystander = GateJob.perform_later(1)
        for _ in range(2):
            KillJob.perform_later(1, PATIENT_S)
        wait_until(lambda: deaths(redis, bystander.jid) == 2, "two deaths", 30)
        later = [ExitJob.perform_later(3) for _ in range(3)]
        let_pass(redis, [bystander])
        wait_until(lambda: redis.zcard("dead") == 2 + len(later), "all burials", 60)
        end(worker)

    assert bystander.jid not in {grave["jid"] for grave in dead(redis)}
    assert redis.lrange("ended", 0, -1) == [b"1"]


def test_the_quarantine_is_a_process_of_its_own_for_as_long_as_it_is_needed(redis):
    job = GateJob.set(queue="default:quarantine").perform_later(1)
    for name in "ab":
        redis.zadd(f"sk:crashes:{job.jid}", {name: 9e9})
    with worker_process("-p", "1", "-c", "3") as worker:
        (apart,) = wait_until(lambda: [i for i in members(redis).values() if b'"default:quarantine"' in redis.hget(i, "info")], "it")
        info = json.loads(redis.hget(apart, "info"))
        assert (info["concurrency"], info["queues"]) == (1, ["default:quarantine"])
        wait_until(lambda: redis.llen("began"), "the suspect to begin")
        redis.rpush("gate", "go")
        wait_until(lambda: apart not in members(redis).values(), "its end")
        wait_until(lambda: len(children_of(worker.process.pid)) == 2, "worker and service alone")
        assert deaths(redis, job.jid) == 0
        assert "comes" not in worker.output()
        end(worker)

    assert kept(redis) == []


def test_what_fails_apart_is_retried_apart_and_its_deaths_are_remembered(redis):
    job = FailJob.perform_later()
    redis.zadd(f"sk:crashes:{job.jid}", {"a": 9e9, "b": 9e9})
    redis.rename("queue:default", "queue:default:quarantine")
    with worker_process("-p", "1", "-c", "3") as worker:
        wait_until(lambda: redis.zcard("retry"), "the failure")
        end(worker)

    (raw,) = redis.zrange("retry", 0, -1)
    assert json.loads(raw)["queue"] == "default:quarantine"
    assert deaths(redis, job.jid) == 2


def test_a_drain_waits_for_the_quarantine(redis):
    EchoJob.set(queue="default:quarantine").perform_later()
    with worker_process("-p", "1", "-c", "1", "--drain") as worker:
        assert worker.wait(30) == 0, worker.output()

    assert redis.llen("echo") == 1


def test_the_quarantine_survives_hup(redis):
    GateJob.set(queue="default:quarantine").perform_later(1)
    with worker_process("-p", "1", "-c", "1", "-t", "0.5") as worker:
        wait_until(lambda: redis.llen("began"), "the suspect to begin")
        worker.send(signal.SIGHUP)
        wait_until(lambda: redis.llen("began") == 2, "it to begin again", 30)
        redis.rpush("gate", "go")
        wait_until(lambda: redis.llen("ended"), "its end")
        end(worker)


def test_quiet_holds_for_suspects_too(redis):
    with worker_process("-p", "1", "-c", "1") as worker:
        listed = ready(redis, 1)
        worker.send(signal.SIGTSTP)
        wait_until(lambda: all(redis.hget(i, "quiet") == b"true" for i in listed.values()), "the quiet")
        EchoJob.set(queue="default:quarantine").perform_later()
        with pytest.raises(pytest.fail.Exception):
            wait_until(lambda: len(children_of(worker.process.pid)) > 2, "a quarantine, which must not come", 3)
        end(worker)

    assert redis.llen("echo") == 0


@pytest.mark.parametrize("paused", ["default", "default:quarantine"])
def test_suspects_of_a_paused_queue_wait(redis, broker, paused):
    quarantine = Quarantine(broker.client, broker.keys, ["default", "low"])
    assert not quarantine.is_needed()
    redis.lpush("queue:default:quarantine", "x")
    assert quarantine.is_needed()
    redis.sadd("paused", paused)
    assert not quarantine.is_needed()
    redis.lpush("queue:low:quarantine", "x")
    assert quarantine.is_needed()
    redis.delete("queue:default:quarantine")
    redis.set("queue:default:quarantine", "text")
    assert quarantine.is_needed(), "what is no list holds up no other"


@pytest.mark.parametrize(
    ("times", "was_alone", "can_run_apart", "said"),
    [
        (1, True, True, "runs again"),
        (1, False, True, "runs again"),
        (2, True, True, "runs apart"),
        (2, False, True, "runs apart"),
        (3, True, True, "dead"),
        (3, False, True, "runs apart"),
        (9, False, True, "runs apart"),
        (2, True, False, "runs again"),
        (3, False, False, "dead"),
        (3, True, False, "dead"),
    ],
)
def test_who_has_not_died_alone_is_not_judged_where_it_can_be(times, was_alone, can_run_apart, said):
    assert verdict(times, was_alone=was_alone, can_run_apart=can_run_apart) == said
