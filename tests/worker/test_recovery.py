from __future__ import annotations

import json
import os

import pytest

from django_sidekick.broker.ownership import Ownership
from django_sidekick.broker.recovery import OwnerRegister
from django_sidekick.exceptions import Fenced
from django_sidekick.wire.outcome import Outcome
from django_sidekick.worker.journal import Journal, path_of
from django_sidekick.worker.recovery import TakeOver, sweep_journals
from tests.app.jobs import NoopJob

pytestmark = pytest.mark.usefixtures("redis")


class Dead:
    """A process that fetched jobs, said things in its journal, and is gone: its pid belongs to nobody."""

    def __init__(self, settings, *queues, pid=2**22 + 1):
        self.own = Ownership(settings, queues or ("default",))
        self.own._enter(f"host:{pid}:{os.urandom(6).hex()}")
        self.own.register()
        self.journal = Journal(path_of(settings.runtime_dir, self.own.identity), 4, 100)

    def fetch(self, count):
        return self.own.fetch(range(len(self.own.queues)), count, [])


def events_of(outcomes):
    return json.dumps([[o.delivery.tag, o.kind, o.started_at_s, o.duration_s] for o in outcomes]).encode()


@pytest.fixture
def in_force(sidekick_settings, tmp_path):
    return sidekick_settings(RUNTIME_DIR=tmp_path)


@pytest.fixture
def owners(in_force, broker):
    return OwnerRegister(broker.client, in_force)


@pytest.fixture
def take_over(owners, in_force):
    return TakeOver(owners, in_force, events_of)


def waiting(redis):
    return [json.loads(raw)["args"][0] for raw in redis.lrange("queue:default", 0, -1)]


def test_what_was_finished_is_settled_with_its_event_and_the_rest_runs_again(redis, in_force, take_over):
    NoopJob.perform_bulk([(i,) for i in range(5)])
    dead = Dead(in_force)
    jobs = dead.fetch(5)
    for delivery in jobs[:2]:
        dead.journal.mark_finished(delivery.tag, 1000.0, 0.5)
    dead.journal.tags[0] = jobs[2].tag

    taken = take_over.slice(dead.own.identity, certain=True)

    assert taken == (3, 2, 0, False)
    assert waiting(redis) == [4, 3, 2]
    events = [json.loads(fields[b"b"]) for _, fields in redis.xrange("sk:events")]
    assert events == [[[delivery.tag, "done", 1000.0, 0.5]] for delivery in jobs[:2]]
    assert not dead.journal.path.exists()
    assert redis.zcard("sk:owners") == 0


def test_a_repeat_changes_nothing(redis, in_force, owners, take_over):
    NoopJob.perform_bulk([(i,) for i in range(3)])
    dead = Dead(in_force)
    first = dead.fetch(3)[0]
    dead.journal.mark_finished(first.tag, 1.0, 1.0)
    other = TakeOver(owners, in_force, events_of)
    owners.fence(dead.own.identity, certain=True)

    assert other._settle_finished(dead.own.identity, ["default"], _read(dead)) == 1
    assert take_over.slice(dead.own.identity, certain=True) == (2, 0, 0, False)
    assert other.slice(dead.own.identity, certain=True) == (0, 0, 0, False)
    assert redis.xlen("sk:events") == 1
    assert sorted(waiting(redis)) == [1, 2]


def _read(dead):
    from django_sidekick.worker import journal

    return journal.read(dead.journal.path)


def test_nothing_happens_while_the_lease_runs(redis, in_force, take_over):
    NoopJob.perform_later(1)
    alive = Dead(in_force)
    (delivery,) = alive.fetch(1)
    alive.journal.mark_finished(delivery.tag, 1.0, 1.0)

    assert take_over.slice(alive.own.identity) == (0, 0, 0, False)
    assert alive.own.acknowledge([Outcome("done", delivery)]) == 1


def test_who_was_taken_over_settles_nothing_and_writes_no_event(redis, in_force, take_over):
    NoopJob.perform_later(1)
    zombie = Dead(in_force)
    (delivery,) = zombie.fetch(1)
    redis.zadd("sk:owners", {zombie.own.identity: 1})
    take_over.slice(zombie.own.identity)

    with pytest.raises(Fenced):
        zombie.own.acknowledge([Outcome("retry", delivery, member=b"x", at_s=5.0)], b"event")
    assert (redis.zcard("retry"), redis.exists("sk:events"), redis.llen("queue:default")) == (0, 0, 1)


def test_only_a_fenced_process_is_settled_for(redis, in_force, owners):
    NoopJob.perform_later(1)
    alive = Dead(in_force)
    (delivery,) = alive.fetch(1)

    assert owners.settle(alive.own.identity, [Outcome("done", delivery)]) == 0
    assert redis.hlen(alive.own.inflight) == 4


class TestPoison:
    def die(self, settings, take_over, *, running=1, **keys):
        dead = Dead(settings)
        jobs = dead.fetch(3)
        for slot, delivery in enumerate(jobs[:running]):
            dead.journal.since[slot], dead.journal.tags[slot] = 1.0, delivery.tag
        return take_over.slice(dead.own.identity, **{"certain": True, **keys})

    def test_the_third_death_buries_what_was_running_and_nothing_else(self, redis, in_force, take_over):
        killer = NoopJob.perform_later("killer")
        NoopJob.perform_bulk([("other",), ("another",)])

        assert [self.die(in_force, take_over).buried for _ in range(3)] == [0, 0, 1]

        [(raw, score)] = redis.zrange("dead", 0, -1, withscores=True)
        grave = json.loads(raw)
        assert (grave["jid"], grave["error_class"], grave["queue"]) == (killer.jid, "ProcessDied", "default")
        assert "died 3 times within 72 hours" in grave["error_message"]
        assert sorted(waiting(redis)) == ["another", "other"]
        events = [json.loads(fields[b"b"]) for _, fields in redis.xrange("sk:events")]
        assert [event[0][1] for event in events] == ["dead"]
        assert 0 < redis.ttl(f"sk:crashes:{killer.jid}") <= 72 * 3600

    def test_deaths_long_ago_do_not_count(self, redis, in_force, take_over):
        job = NoopJob.perform_later()
        for _ in range(2):
            self.die(in_force, take_over)
        for name in redis.zrange(f"sk:crashes:{job.jid}", 0, -1):
            redis.zadd(f"sk:crashes:{job.jid}", {name: 1})

        assert self.die(in_force, take_over).buried == 0

    def test_one_death_counts_once_however_often_it_is_recovered(self, redis, in_force, owners):
        assert [owners.count_crash("j", "h:1:a") for _ in range(5)] == [1] * 5
        assert owners.count_crash("j", "h:1:b") == 2

    def test_a_process_that_we_killed_blames_nobody(self, redis, in_force, take_over):
        NoopJob.perform_later()
        for _ in range(4):
            assert self.die(in_force, take_over, blame=False).buried == 0

    def test_a_stopped_process_blames_nobody(self, redis, in_force, take_over):
        NoopJob.perform_later()
        for _ in range(4):
            stopped = Dead(in_force, pid=os.getpid())
            (delivery,) = stopped.fetch(1)
            stopped.journal.tags[0] = delivery.tag
            redis.zadd("sk:owners", {stopped.own.identity: 1})
            assert take_over.slice(stopped.own.identity).buried == 0

    @pytest.mark.parametrize("raw", [b'{"class":"A","args":[]}', b'{"class":"A","args":[],"jid":"a b"}', b"{bad"])
    def test_odd_jobs_have_a_name_too(self, redis, in_force, take_over, raw):
        redis.lpush("queue:default", raw)

        assert [self.die(in_force, take_over).buried for _ in range(3)] == [0, 0, 1]
        assert redis.zcard("dead") == 1


def test_orphans_come_back_in_slices(redis, in_force, take_over):
    dead = Dead(in_force)
    redis.hset(dead.own.inflight, mapping={str(n * 256): f"job {n}" for n in range(1, 30_001)})

    first = take_over.slice(dead.own.identity, certain=True)
    assert first.more
    assert first.returned < 3000
    while take_over.slice(dead.own.identity, certain=True).more:
        pass
    assert redis.llen("queue:default") == 30_000
    assert redis.exists(dead.own.inflight) == 0


def test_old_journals_of_nobody_are_swept(in_force, owners, tmp_path):
    young, old, known = (Dead(in_force) for _ in range(3))
    for dead in (old, known):
        os.utime(dead.journal.path, (1, 1))
    owners.recover(old.own.identity, certain=True)
    owners.recover(young.own.identity, certain=True)

    sweep_journals(in_force.runtime_dir, owners.is_known)

    assert {p.name for p in tmp_path.iterdir()} == {young.journal.path.name, known.journal.path.name}
