"""What a real Sidekiq 8.1.7 wrote to Redis, and what we write for the same operation."""

from __future__ import annotations

import base64
import json
import re
import signal
import zlib
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from django_sidekick import BaseJob, push
from django_sidekick.broker.inspector import Inspector
from tests.conftest import wait_until
from tests.golden.jobs import AWAY, Echo, NoRetry
from tests.workers import worker_process

SAMPLES = Path(__file__).parent / "samples"
TTLS = {"8 h": 28_800, "3 days": 259_200, "60 s": 60, "5 years": 157_680_000}
WORKER_CASES = ["job_done", "job_fails_once", "job_fails_twice", "job_exhausted", "job_retry_false", "job_unknown_class", "job_bad_json", "scheduled_becomes_due"]  # fmt: skip

pytestmark = pytest.mark.usefixtures("redis")


def sample(case: str) -> dict[str, Any]:
    return json.loads((SAMPLES / f"{case}.json").read_text())


class Tagged(BaseJob):
    class_name = "Tagged"
    queue_as = "low"
    retry = 3
    tags = ("tag-a", "tag-b")
    backtrace = True

    def perform(self, *args):
        pass


SOON = timedelta(seconds=60)
LATER = datetime(2100, 1, 1, tzinfo=UTC)
PUSHES = {
    "push_async": lambda case: Echo.perform_later(*first_job(case)["args"]),
    "push_no_args": lambda case: Echo.perform_later(),
    "push_numbers": lambda case: Echo.perform_later(*first_job(case)["args"]),
    "push_class_options": lambda case: Tagged.perform_later("x"),
    "push_retry_false": lambda case: NoRetry.perform_later(1),
    "push_set": lambda case: Echo.set(queue="other", retry=2).perform_later("s"),
    "push_string_class": lambda case: push("app.tasks.add", args=[1, 2]),
    "push_jid_given": lambda case: push("Echo", jid="a" * 24, created_at=1700000000000),
    "push_options": lambda case: push(
        "Echo", args=[1], queue="critical", retry=5, backtrace=10, tags=["a", "b"],
        retry_queue="low", dead=False, custom={"k": 1},
    ),
    "push_bulk": lambda case: Echo.perform_bulk([(1,), (2,), (3,)]),
    "push_bulk_at": lambda case: Echo.perform_bulk([(1,), (2,)], at=LATER),
    "push_bulk_at_list": lambda case: Echo.perform_bulk([(1,), (2,)], at=[LATER, LATER + SOON]),
    "schedule_in": lambda case: Echo.set(wait=SOON).perform_later("later"),
    "schedule_at": lambda case: Echo.set(wait_until=LATER).perform_later(*first_job(case)["args"]),
    "schedule_past": lambda case: Echo.set(wait_until=datetime(2020, 1, 1, tzinfo=UTC)).perform_later("now"),
}  # fmt: skip


def first_job(case: dict[str, Any]) -> dict[str, Any]:
    for entry in case["keys"].values():
        if entry["type"] == "list":
            return entry["value"][0]["json"]
        if entry["type"] == "zset":
            return entry["value"][0]["member"]["json"]
    raise AssertionError("no job in the sample")


def test_every_sample_of_an_operation_we_have_is_driven():
    names = {path.stem for path in SAMPLES.glob("*.json")}
    wanted = {n for n in names if n.startswith(("push", "schedule", "job_", "process_", "killed_", "shutdown"))}

    driven = {*PUSHES, *WORKER_CASES, "process_start_stop", "process_busy", "killed_worker", "shutdown_requeues"}
    assert wanted <= driven


@pytest.mark.parametrize("name", sorted(PUSHES))
def test_pushes_write_what_sidekiq_writes(redis, name):
    case = sample(name)

    PUSHES[name](case)

    assert_same_keys(redis, case["keys"])


@pytest.mark.parametrize("name", WORKER_CASES)
def test_a_worker_leaves_what_sidekiq_leaves(redis, name):
    case = sample(name)
    write(redis, case["before"])
    with worker_process("-c", "2", "-g", "interop", DJANGO_SETTINGS_MODULE="tests.golden.settings") as worker:
        wait_until(lambda: settled(redis, name), "the job to be settled")
        if name == "job_fails_twice":
            wait_until(lambda: (found := redis.zrange("retry", 0, 0)) and b"retried_at" in found[0], "the retry")
        worker.send(signal.SIGTERM)
        assert worker.wait() == 0, worker.output()

    assert_same_keys(redis, without_counts(case["before"], case["keys"]))


def without_counts(before: dict[str, Any], after: dict[str, Any]) -> dict[str, Any]:
    """Take the counts that stood before out of those after: ours begin with 0."""
    after = json.loads(json.dumps(after))
    for name, entry in before.items():
        value = entry["value"]
        if name.startswith("stat:"):
            after[name]["value"] = str(int(after[name]["value"]) - int(value))
        elif name.startswith("j|"):
            for field, count in value.items():
                after[name]["value"][field] = str(int(after[name]["value"][field]) - int(count))
    return after


def settled(redis: Any, name: str) -> bool:
    if name == "scheduled_becomes_due":
        return bool(redis.llen("queue:parked") and redis.smembers("processes"))
    owners = redis.zrange("sk:owners", 0, -1)
    if not owners or redis.llen("queue:default") or not redis.smembers("processes"):
        return False
    return all(redis.hlen(b"sk:inflight:" + owner) == 3 for owner in owners)


def test_a_worker_that_starts_and_ends(redis):
    words = ("-c", "2", "-g", "tag", "-q", "critical,3", "-q", "default,1")
    with worker_process(*words, DJANGO_SETTINGS_MODULE="tests.golden.settings") as worker:
        wait_until(lambda: redis.smembers("processes"), "the first beat")
        worker.send(signal.SIGTERM)
        assert worker.wait() == 0

    assert_same_keys(redis, sample("process_start_stop")["keys"])


@pytest.mark.parametrize("name", ["process_busy", "killed_worker"])
def test_a_busy_worker_shows_its_job(redis, name):
    case = sample(name)
    payload = work_payload(case)
    redis.sadd("queues", "default")
    redis.lpush("queue:default", json.dumps(payload))
    with worker_process("-c", "2", "-g", "interop", DJANGO_SETTINGS_MODULE="tests.golden.settings") as worker:
        wait_until(lambda: redis.llen("began"), "the job to begin")
        wait_until(lambda: any(key.endswith(b":work") for key in redis.keys("*:work")), "the next beat", 30)
        if name == "killed_worker":
            worker.kill()

        assert_same_keys(redis, case["keys"])


API_ACTS = {
    "api_retry": lambda inspector, jid: inspector.retry(jid),
    "api_kill": lambda inspector, jid: inspector.kill(jid),
    "api_reschedule": lambda inspector, jid: inspector.reschedule(jid, 4_000_000_000.0),
}


@pytest.mark.parametrize("name", sorted(API_ACTS))
def test_acts_by_hand_leave_what_sidekiq_leaves(redis, broker, name):
    case = sample(name)
    write(redis, case["before"])

    assert API_ACTS[name](Inspector(broker), "d" * 24)

    moved = {"retry", "dead", "schedule", "queues"}
    assert_same_keys(redis, {k: v for k, v in case["keys"].items() if k in moved or k.startswith("queue:")})


def work_payload(case: dict[str, Any]) -> dict[str, Any]:
    (work,) = [e for k, e in case["keys"].items() if k.endswith(":work")]
    payload = dict(work["value"]["<TID>"]["json"]["payload"]["string of JSON"])
    return {**payload, "jid": "a" * 24, "created_at": 1, "enqueued_at": 2}


def test_a_shutdown_pushes_back_to_the_front(redis):
    case = sample("shutdown_requeues")
    slow = {"retry": True, "queue": "default", "args": [30, "slow"], "class": "Sleeper", "jid": "b" * 24, "created_at": 1, "enqueued_at": 2}
    behind = {**slow, "args": ["behind"], "class": "Echo", "jid": "c" * 24}
    redis.sadd("queues", "default")
    redis.rpush("queue:default", json.dumps(slow))
    with worker_process("-c", "1", "-t", "0.3", "-g", "interop", DJANGO_SETTINGS_MODULE="tests.golden.settings") as worker:
        wait_until(lambda: redis.llen("began"), "the job to begin")
        redis.lpush("queue:default", json.dumps(behind))
        worker.send(signal.SIGTERM)
        assert worker.wait() == 0

    expected = case["keys"]["queue:default"]["value"]
    got = [json.loads(raw) for raw in redis.lrange("queue:default", 0, -1)]
    assert [(job["class"], job["args"]) for job in got] == [(e["json"]["class"], e["json"]["args"]) for e in expected]
    assert got[1] == slow


def write(redis: Any, keys: dict[str, Any]) -> None:
    """Put a sample's `before` into Redis, its placeholders filled."""
    for key, entry in keys.items():
        if entry["type"] == "list":
            redis.rpush(key, *[member(e) for e in entry["value"]])
        elif entry["type"] == "set":
            redis.sadd(key, *entry["value"])
        elif entry["type"] == "zset":
            redis.zadd(key, {member(e["member"]): 0 for e in entry["value"]})


def member(entry: dict[str, Any]) -> str:
    if "text" in entry:
        return entry["text"]
    text = json.dumps(entry["json"])
    return text.replace('"<MS>"', "1795408321361").replace("<JID:1>", "d" * 24).replace("<JID:2>", "e" * 24)


def assert_same_keys(redis: Any, expected: dict[str, Any]) -> None:
    """Same keys (ours, which begin with sk:, aside), same types, TTLs and fields."""
    ours = {name_of(key): key for key in redis.keys("*") if not key.startswith((b"sk:", b"began"))}
    wanted = {name: entry for name, entry in expected.items() if not name.startswith("interop:")}
    # Sidekiq removes `process_cleanup` never, but writes it late: a killed or busy one has not yet.
    ours.pop("process_cleanup", None)
    wanted.pop("process_cleanup", None)
    assert set(ours) == set(wanted)
    for name, entry in wanted.items():
        key = ours[name]
        assert redis.type(key).decode() == entry["type"], name
        ttl = redis.ttl(key)
        if "ttl" in entry:
            assert TTLS[entry["ttl"]] - 30 <= ttl <= TTLS[entry["ttl"]], name
        else:
            assert ttl == -1, name
        compare(redis, key, entry)


def name_of(key: bytes) -> str:
    text = key.decode()
    text = re.sub(r"^[^|:]+:\d+:[0-9a-f]{12}", "<IDENTITY>", text)
    text = re.sub(r"^(h\|\w+)-\d+-\d+:\d+$", r"\1-<D-H:MM>", text)
    text = re.sub(r"^j\|\d{6}\|\d+:\d\d$", "j|<YYMMDD>|<H:MM>", text)
    text = re.sub(r"^j\|\d{6}\|\d+:\d$", "j|<YYMMDD>|<H:M>", text)
    return re.sub(r"\d{4}-\d\d-\d\d$", "<YYYY-MM-DD>", text)


def compare(redis: Any, key: bytes, entry: dict[str, Any]) -> None:
    kind, value = entry["type"], entry["value"]
    if kind == "set":
        assert {name_of(found) for found in redis.smembers(key)} == set(value)
    elif kind == "list":
        compare_all([raw.decode() for raw in redis.lrange(key, 0, -1)], value)
    elif kind == "zset":
        compare_all([raw.decode() for raw in redis.zrange(key, 0, -1)], [e["member"] for e in value])
    elif kind == "string" and isinstance(value, str):
        assert redis.get(key).decode() == value
    elif kind == "string":
        assert len(redis.get(key)) == len(base64.b64decode(value["base64"]))
    elif kind == "hash":
        compare_hash({k.decode(): v.decode() for k, v in redis.hgetall(key).items()}, value)


def compare_all(found: list[str], wanted: list[dict[str, Any]]) -> None:
    assert len(found) == len(wanted)
    for raw, entry in zip(found, wanted, strict=True):
        if "text" in entry:
            assert raw == entry["text"]
        else:
            compare_job(json.loads(raw), entry["json"])


def compare_job(job: dict[str, Any], wanted: dict[str, Any]) -> None:
    assert set(job) == set(wanted)
    for name, value in wanted.items():
        if value == "<MS>":
            assert type(job[name]) is int, name
        elif isinstance(value, str) and value.startswith("<JID"):
            assert re.fullmatch(r"[0-9a-f]{24}", job[name])
        elif name == "error_backtrace":
            lines = json.loads(zlib.decompress(base64.b64decode(job[name])))
            assert len(lines) <= len(value["zlib+base64 of JSON"])
            assert all(isinstance(line, str) for line in lines)
        elif name in AWAY:
            assert isinstance(job[name], str)
        else:
            assert job[name] == value, name
            assert type(job[name]) is type(value), name


def compare_hash(found: dict[str, str], wanted: dict[str, Any]) -> None:
    if "<TID>" in wanted:
        (work,) = found.values()
        work = json.loads(work)
        assert set(work) == set(wanted["<TID>"]["json"])
        assert type(work["run_at"]) is int
        assert json.loads(work["payload"])["class"] == "Sleeper"
        return
    assert set(found) == set(wanted)
    beaten = {"busy"} if wanted.get("busy") == "0" else set()  # the last beat may have met the job in its run
    for field in set(wanted) - {"info"} - beaten:
        if not wanted[field].startswith("<"):
            assert found[field] == wanted[field], field
    if "info" in wanted:
        info, expected = json.loads(found["info"]), wanted["info"]["json"]
        assert set(info) == {*expected, "concurrency"}  # 6.x and 7.x read it here
        for field in ("tag", "capsules", "queues", "weights", "labels", "version", "embedded"):
            assert info[field] == expected[field], field
