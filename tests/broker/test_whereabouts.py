from __future__ import annotations

import json

import pytest

from django_sidekick.broker import whereabouts
from django_sidekick.broker.console import answer, get_console
from django_sidekick.broker.inspector import Inspector
from django_sidekick.broker.whereabouts import Gap, Location, seek

JID = "f" * 24


def job(jid=JID, **fields):
    return json.dumps({"class": "A", "args": [], "queue": "low", "jid": jid, **fields}).encode()


@pytest.fixture
def where(redis, broker):
    def ask(*jids, **bounds):
        return answer(broker.client, seek(broker.keys, jids or [JID], **bounds))

    return ask


def test_the_next_job_of_a_queue_has_position_1(redis, where):
    redis.sadd("queues", "low")
    redis.lpush("queue:low", job("a"), job("b"), job(), job("c"))

    found = where().places[JID]

    assert (found.kind, found.queue, found.position, found.size) == ("queue", "low", 3, 4)
    assert found.raw == job()


@pytest.mark.parametrize("key", ["retry", "schedule", "dead"])
def test_a_set_is_told_with_its_score(redis, where, key):
    redis.zadd(key, {job("a"): 1, job(): 7.5})

    found = where().places[JID]

    assert (found.kind, found.key, found.score, found.size) == (key, key, 7.5, 2)


def test_a_busy_job_is_found_in_flight_and_its_start_in_the_beat(redis, where):
    redis.zadd("sk:owners", {"host:1:a": 9e9})
    redis.hset("sk:inflight:host:1:a", mapping={"epoch": "1", "257": job()})
    work = {"queue": "low", "payload": job().decode(), "run_at": 1000}
    redis.sadd("processes", "host:1:a")
    redis.hset("host:1:a:work", "t1", json.dumps(work))

    found = where().places[JID]

    assert (found.kind, found.process, found.since_s, found.raw) == ("busy", "host:1:a", 1000, job())


@pytest.mark.parametrize("payload", [job().decode(), json.loads(job())], ids=["text", "object"])
def test_a_job_that_ruby_runs_is_known_from_the_beat_alone(redis, where, payload):
    redis.sadd("processes", "host:1:a")
    redis.hset("host:1:a:work", "t1", json.dumps({"queue": "low", "payload": payload, "run_at": 1000}))

    found = where().places[JID]

    assert (found.kind, found.process, found.since_s, found.raw) == ("busy", "host:1:a", 1000, b"")


def test_what_lies_in_a_set_now_is_nearer_than_the_last_beat(redis, where):
    redis.sadd("processes", "host:1:a")
    redis.hset("host:1:a:work", "t1", json.dumps({"payload": job().decode(), "run_at": 1000}))
    redis.zadd("retry", {job(): 1})

    assert where().places[JID].kind == "retry"


def test_many_jobs_are_found_in_one_walk(redis, where):
    redis.sadd("queues", "low")
    redis.rpush("queue:low", *(job(f"j{number}") for number in range(3000)))
    redis.zadd("dead", {job("d"): 1})

    places = where("j5", "j2999", "d", "nowhere").places

    assert {jid: place.kind for jid, place in places.items()} == {"j5": "queue", "j2999": "queue", "d": "dead"}


def test_a_bounded_walk_says_what_it_has_not_seen(redis, where):
    redis.sadd("queues", "low", "short")
    redis.rpush("queue:low", *(job(f"j{number}") for number in range(500)), job())
    redis.rpush("queue:short", job("s"))

    found = where(most=300)

    assert (found.places, found.gaps) == ({}, (Gap("queue", "low", 300, 501),))


def test_time_that_is_over_ends_a_walk_and_is_told(redis, where):
    redis.zadd("dead", {job(): 1})

    found = where(within_s=0)

    assert found.places == {}


def test_slices_shrink_when_members_are_large(redis, where, monkeypatch):
    monkeypatch.setattr(whereabouts, "SLICE_BYTES", 10_000)
    redis.zadd("dead", {job(f"j{number}", args=["x" * 1000]): number for number in range(300)})
    redis.config_resetstat()

    where("nowhere")

    assert redis.info("commandstats")["cmdstat_eval"]["calls"] > 20


@pytest.mark.parametrize("jid", ['quo"te', "Việt", "a\\b", "new\nline", "\x00"])
@pytest.mark.parametrize("ascii", [True, False])
def test_a_strange_jid_is_found_however_json_writes_it(redis, where, jid, ascii):
    redis.zadd("dead", {json.dumps({"class": "A", "args": [], "jid": jid}, ensure_ascii=ascii): 1})

    assert where(jid).places[jid].kind == "dead"


def test_hostile_members_and_keys_of_other_types_are_passed_over(redis, where):
    redis.zadd("retry", {b"\xff": float("inf"), f'{{"jid":"{JID}"': 1, json.dumps([JID]): 2, json.dumps({"a": {"jid": JID}}): 3})
    redis.set("schedule", "no set")
    redis.sadd("queues", "low", b"\xff\xfe", "a b/c\n")
    redis.set("queue:low", "no list")
    redis.rpush(b"queue:\xff\xfe", job())
    redis.sadd("processes", b"\xff", "p")
    redis.set("p:work", "no hash")
    redis.set("sk:owners", "no set")

    found = where().places[JID]

    assert isinstance(found, Location) and found.kind == "queue"


def test_a_job_leaves_a_queue_whose_name_is_no_utf8(redis, broker):
    redis.sadd("queues", b"\xff")
    redis.rpush(b"queue:\xff", job())

    assert Inspector(broker).delete(JID)
    assert redis.llen(b"queue:\xff") == 0


def test_a_look_asks_for_names_that_are_no_utf8(redis):
    redis.rpush(b"queue:\xff", "x")
    console = get_console()

    def question():
        replies = yield [("LLEN", console.keys.queue(b"\xff".decode(errors="surrogateescape")))]
        return replies[0]

    assert console.ask({"size": question()}) == {"size": 1}
