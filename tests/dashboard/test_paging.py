"""Many queues, many processes, much that runs: 100 rows a page, 1,000 read, and it is said."""

from __future__ import annotations

import json

import pytest
from django.urls import reverse

from django_sidekick.broker.console import get_console
from tests.dashboard.live import IDENTITY, beat, job
from tests.dashboard.test_queues import words

QUEUES, PROCESSES, BUSY, OVERVIEW = (reverse(f"admin:sidekick_{name}") for name in ("queues", "processes", "busy", "overview"))


def fleet(redis, count):
    """So many processes, which all read the queue low."""
    beat(redis)
    one = redis.hgetall(IDENTITY)
    redis.delete(IDENTITY, "processes")
    pipeline = redis.pipeline()
    for number in range(count):
        identity = f"host{number:05}:1:f"
        info = {**json.loads(one[b"info"]), "hostname": f"host{number:05}", "pid": 1}
        pipeline.sadd("processes", identity)
        pipeline.hset(identity, mapping={**one, b"info": json.dumps(info)})
    pipeline.execute()


def running(redis, identity, count, **fields):
    redis.hset(f"{identity}:work", mapping={f"t{n}": json.dumps({"queue": "low", "payload": job(jid=f"{identity[:4]}{n:020}", **fields), "run_at": 1000 + n}) for n in range(count)})


def asked(client, url):
    """Return the answer, and the commands of each round trip."""
    trips = []
    console = get_console()
    send = console._send
    console._send = lambda commands: trips.append(commands) or send(commands)
    try:
        return client.get(url), trips
    finally:
        console._send = send


def test_queues_have_100_rows_a_page_and_only_theirs_are_read(redis, client, viewer):
    redis.sadd("queues", *(f"q{number:04}" for number in range(1250)))

    first, trips = asked(client, QUEUES)
    last, beyond, some = (client.get(QUEUES + query) for query in ("?p=13", "?p=99", "?q=Q12&p=1"))

    assert [queue.name for queue in first.context["queues"]] == [f"q{number:04}" for number in range(100)]
    assert [queue.name for queue in last.context["queues"]] == [queue.name for queue in beyond.context["queues"]] == [f"q{number:04}" for number in range(1200, 1250)]
    assert [queue.name for queue in some.context["queues"]] == [f"q{number:04}" for number in range(1200, 1250)]
    assert "1,250 queues" in words(first) and "50 queues" in words(some)
    assert "?p=2" in first.content.decode() and "Page 13 of 13" in words(last)
    assert len(trips) == 2
    assert sum(command[0] == "LINDEX" for command in trips[1]) == 100
    assert "are read" not in words(first)


def test_the_live_part_of_a_page_is_of_that_page(redis, client, viewer):
    redis.sadd("queues", *(f"q{number:04}" for number in range(150)))

    assert "q0149" in client.get(QUEUES + "?p=2&live=1").json()["parts"]["sk-queues"]


def test_the_overview_reads_1000_queues_and_says_so(redis, client, viewer):
    redis.sadd("queues", *(f"q{number:04}" for number in range(1250)))

    answer, trips = asked(client, OVERVIEW)

    assert "Only the first 1,000 of 1,250 queues are read." in words(answer)
    assert "1,240 queues more" in words(answer)
    assert sum(command[0] == "LINDEX" for command in trips[1]) == 1000


def test_processes_have_100_rows_a_page_and_sums_of_all(redis, client, viewer):
    fleet(redis, 250)

    first, last = client.get(PROCESSES), client.get(PROCESSES + "?p=3")
    some = client.get(PROCESSES + "?q=host0024")

    assert [process.hostname for process in first.context["processes"]] == [f"host{number:05}" for number in range(100)]
    assert [process.hostname for process in last.context["processes"]] == [f"host{number:05}" for number in range(200, 250)]
    assert "250 processes, as they were at their last beats" in words(first)
    assert "250 processes · 1,250 threads · 250 busy" in words(first)
    assert len(some.context["processes"]) == 10
    assert "are read" not in words(first)


@pytest.mark.parametrize("url", [QUEUES, PROCESSES, BUSY, OVERVIEW])
def test_of_more_than_1000_processes_the_first_are_read_and_that_is_said(redis, client, viewer, url):
    fleet(redis, 1100)
    redis.sadd("queues", "low")

    answer, trips = asked(client, url)

    assert "Only the first 1,000 of 1,100 processes are read." in words(answer)
    assert len(trips) == 2
    assert len({command for command in trips[1] if command[0] == "HMGET"}) == 1000


def test_of_more_than_1000_running_jobs_1000_are_read_and_that_is_said(redis, client, viewer):
    for number in range(4):
        beat(redis, f"hos{number}:1:f")
        running(redis, f"hos{number}:1:f", 600)

    answer, trips = asked(client, BUSY)
    one = client.get(BUSY + "?process=hos3:1:f")

    assert "Only 1,000 of 2,400 running jobs are read." in words(answer)
    assert "1,000 running jobs, the longest run first" in words(answer)
    assert len(answer.context["rows"]) == 100
    assert len(trips) == 2
    assert "600 running jobs" in words(one) and "of 2,400" not in words(one)
    assert {row.running.identity for row in one.context["rows"]} == {"hos3:1:f"}


def test_1000_running_jobs_of_many_processes_are_all_read(redis, client, viewer):
    for number in range(4):
        beat(redis, f"hos{number}:1:f")
        running(redis, f"hos{number}:1:f", 250)
    redis.sadd("processes", "wrong")
    redis.set("wrong:work", "no hash")

    answer = client.get(BUSY)

    assert "are read" not in words(answer)
    assert answer.context["pages"].total == 1000
