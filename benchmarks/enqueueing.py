"""What enqueuing costs, beside the bare calls it cannot do without."""

from __future__ import annotations

import itertools

from benchmarks.common import JOB, raw_job, redis_client, timed
from benchmarks.jobs import Noop
from django_sidekick import perform_all_later
from django_sidekick.broker import scripts
from django_sidekick.broker.broker import get_broker

BULK = 1000


def one_by_one(count: int) -> dict[str, float]:
    """CPU of perform_later (immediately) beside redis-py's EVALSHA of the same script with ready bytes."""
    count = min(count // 10, 10_000)
    client, broker = redis_client(), get_broker()
    client.flushall()
    sha, raw, numbers = client.script_load(scripts.load("push").text), raw_job(), itertools.count()

    def bare() -> None:
        for _ in range(count):
            keys = [f"sk:push:{next(numbers):x}", "queues", "schedule", "queue:default"]
            client.execute_command("EVALSHA", sha, 4, *keys, 14, "sk:scheduled", 0, "default", 1, raw, 0)

    later = Noop.set(enqueue="immediately").perform_later

    def ours() -> None:
        for _ in range(count):
            later("hello", 12345, {"a": 1})

    assert broker.client is client
    later("hello", 12345, {"a": 1})
    floor, figures = timed(count, bare), timed(count, ours)
    return {"floor_cpu_us": floor["cpu_us"], "cpu_us": figures["cpu_us"], "floor_per_s": floor["per_s"], "per_s": figures["per_s"]}


def in_bulk(count: int) -> dict[str, float]:
    """Jobs a second of perform_bulk and perform_all_later beside orjson.dumps and a variadic LPUSH of 1,000."""
    import orjson

    client, rounds = redis_client(), max(count // BULK, 10)
    client.flushall()

    def bare() -> None:
        for _ in range(rounds):
            client.lpush("queue:default", *[orjson.dumps(JOB) for _ in range(BULK)])

    def bulk() -> None:
        for _ in range(rounds):
            Noop.perform_bulk([("hello", 12345, {"a": 1})] * BULK)

    def all_later() -> None:
        for _ in range(rounds):
            perform_all_later([Noop.prepare("hello", 12345, {"a": 1}) for _ in range(BULK)])

    figures = {}
    for name, run in (("floor", bare), ("bulk", bulk), ("all_later", all_later)):
        client.flushall()
        figures[f"{name}_per_s"] = timed(rounds * BULK, run)["per_s"]
    return figures
