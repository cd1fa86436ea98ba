"""What a real Sidekiq 8.1.7 wrote to Redis, and what we write for the same operation."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import re
import signal
import struct
import time
import zlib
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from django_sidekick import BaseJob, push
from django_sidekick.broker.inspector import Inspector
from tests.conftest import wait_until
from tests.golden.jobs import AWAY, Echo, NoRetry
from tests.worker.family import BEATS_OFTEN, children_of, settings_module, state_of
from tests.workers import worker_process

SAMPLES = Path(__file__).parent / "samples"
BY_HAND_S = 4_000_000_000.0
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


_LATER_S = LATER.timestamp()
TIMES = {
    "push_bulk_at": [_LATER_S, _LATER_S],
    "push_bulk_at_list": [_LATER_S, _LATER_S + 60],
    "schedule_in": [None],
    "schedule_at": [_LATER_S],
}
"""The scores of what is scheduled; None is 60 s after the call, as in the sample."""


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

    began_s = time.time()
    PUSHES[name](case)
    ended_s = time.time()

    assert_same_keys(redis, case["keys"])
    scheduled = redis.zrange("schedule", 0, -1, withscores=True)
    for at, (raw, score) in zip(TIMES.get(name, []), scheduled, strict=True):
        assert began_s - 0.001 < json.loads(raw)["created_at"] / 1000 <= ended_s
        assert score == at if at else began_s <= score - SOON.total_seconds() <= ended_s


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


LABELS = ["reliable", "eu-west", "größer"]


@pytest.mark.parametrize("labels", [[], LABELS], ids=["no labels", "labels"])
@pytest.mark.parametrize("processes", [0, 2])
def test_a_worker_that_starts_and_ends(redis, tmp_path, processes, labels):
    config = tmp_path / "sidekiq.yml"
    config.write_text(f":labels: {json.dumps(labels)}\n")
    words = ("-p", str(processes), "-c", "2", "-g", "tag", "-q", "critical,3", "-q", "default,1", "-C", str(config))
    wanted = sample("process_start_stop")["keys"]
    shown = wanted["<IDENTITY>"]["value"]
    shown["info"]["json"]["labels"] = labels
    with worker_process(*words, DJANGO_SETTINGS_MODULE="tests.golden.settings") as worker:
        wait_until(lambda: len(redis.smembers("processes")) == max(processes, 1), "the first beats")
        assert_same_keys(redis, {**wanted, "processes": sample("process_busy")["keys"]["processes"]})
        worker.send(signal.SIGTERM)
        assert worker.wait() == 0

    if processes:  # one more beat may have met it on its way out, or just behind it
        shown |= {"quiet": "<TRUE-OR-FALSE>", "rss": "<KB-OR-0>"}
    assert_same_keys(redis, wanted)


@pytest.mark.parametrize("processes", [0, 2])
@pytest.mark.parametrize("name", ["process_busy", "killed_worker"])
def test_a_busy_worker_shows_its_job(redis, tmp_path, name, processes):
    """With a supervisor it is that one which beats, from outside. The other process of two is compared as well: an idle one."""
    case = sample(name)
    payload = work_payload(case)
    redis.sadd("queues", "default")
    redis.lpush("queue:default", json.dumps(payload))
    often = settings_module(tmp_path, "often", "from tests.golden.settings import *\n" + BEATS_OFTEN)
    with worker_process("-p", str(processes), "-c", "2", "-g", "interop", **often) as worker:
        wait_until(lambda: redis.llen("began"), "the job to begin")
        wait_until(lambda: redis.keys("*:work"), "the next beat")
        wait_until(lambda: len(redis.smembers("processes")) == max(processes, 1), "the other's beat")
        family = [worker.process.pid, *children_of(worker.process.pid)]
        send(family, signal.SIGKILL if name == "killed_worker" else signal.SIGSTOP)  # no beat comes while we compare
        wait_until(lambda: all(state_of(pid) in ("", "Z", "T") for pid in family), "the standstill")
        redis.ping(), redis.ping()  # what they sent before has been read by the server when it reads the second

        (work,) = redis.keys("*:work")
        for identity in redis.smembers("processes") - {work.removesuffix(b":work")}:
            compare_hash(texts_of(redis, identity), {**case["keys"]["<IDENTITY>"]["value"], "busy": "0"})
            redis.delete(identity)
        assert_same_keys(redis, case["keys"])
        send(family, signal.SIGKILL)


def send(pids: list[int], number: signal.Signals) -> None:
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)


API_ACTS = {
    "api_retry": lambda inspector, jid: inspector.retry(jid),
    "api_kill": lambda inspector, jid: inspector.kill(jid),
    "api_reschedule": lambda inspector, jid: inspector.reschedule(jid, BY_HAND_S),
}


@pytest.mark.parametrize("name", sorted(API_ACTS))
def test_acts_by_hand_leave_what_sidekiq_leaves(redis, broker, name):
    case = sample(name)
    write(redis, case["before"])

    assert API_ACTS[name](Inspector(broker), "d" * 24)

    if name == "api_reschedule":
        assert [score for _, score in redis.zrange("retry", 0, -1, withscores=True)] == [BY_HAND_S]
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

    assert_same_keys(redis, case["keys"])
    assert json.loads(redis.lindex("queue:default", -1)) == slow


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
    found = [key for key in redis.keys("*") if not key.startswith((b"sk:", b"began"))]
    ours = {name_of(key): [other for other in found if name_of(other) == name_of(key)] for key in found}
    wanted = {name: entry for name, entry in expected.items() if not name.startswith("interop:")}
    # Sidekiq removes `process_cleanup` never, but writes it late: a killed or busy one has not yet.
    ours.pop("process_cleanup", None)
    wanted.pop("process_cleanup", None)
    assert set(ours) == set(wanted)
    for key in (key for keys in ours.values() for key in keys):
        entry = wanted[name := name_of(key)]
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
        found = redis.zrange(key, 0, -1, withscores=True)
        compare_all([raw.decode() for raw, _ in found], [e["member"] for e in value])
        for raw, score in found:
            compare_score(key.decode(), raw.decode(), score)
    elif kind == "string" and isinstance(value, str):
        assert redis.get(key).decode() == value
    elif kind == "string":
        assert runs_in(redis.get(key)) == runs_in(base64.b64decode(value["base64"]))
    elif kind == "hash":
        compare_hash(texts_of(redis, key), value)


def runs_in(histogram: bytes) -> int:
    """Return how many runs the buckets of two bytes count: in which of them a run is, its duration says."""
    buckets = struct.unpack(f">{len(histogram) // 2}H", histogram)
    assert len(buckets) <= 26 and buckets[-1]
    return sum(buckets)


def texts_of(redis: Any, key: bytes) -> dict[str, str]:
    return {field.decode(): value.decode() for field, value in redis.hgetall(key).items()}


def compare_score(key: str, raw: str, score: float) -> None:
    """A retry comes count**4 + 15 s after its failure, plus whole seconds of jitter; a grave bears the time of death."""
    if key == "schedule" or score == BY_HAND_S:
        return  # compared where the time was given
    if key == "dead":
        assert 0 <= time.time() - score < 30
        return
    job = json.loads(raw)
    count = job["retry_count"]
    wait_s = score - job["retried_at" if count else "failed_at"] / 1000
    jitter_s = wait_s - 15 - count**4
    assert -0.001 <= jitter_s < 10 * (count + 1) - 1 + 0.001
    assert abs(jitter_s - round(jitter_s)) < 0.0011  # the payload's times are whole milliseconds


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
            assert 0 < len(lines) <= len(value["zlib+base64 of JSON"])
            assert all(re.fullmatch(r".+:\d+:in `.+'", line) for line in lines)
            assert "in `perform'" in lines[0]  # the innermost first
        elif name in AWAY:
            assert isinstance(job[name], str)
        else:
            assert job[name] == value, name
            assert type(job[name]) is type(value), name


WRITTEN = {
    "<S>": r"\d{10}\.\d+", "<US>": r"\d+", "<KB>": r"[1-9]\d+", "<DURATION-MS>": r"\d+", "<TRUE-OR-FALSE>": "true|false", "<KB-OR-0>": r"\d+",
}  # fmt: skip
"""How a field of a hash is written where the sample has only a placeholder."""


def compare_hash(found: dict[str, str], wanted: dict[str, Any]) -> None:
    if "<TID>" in wanted:
        (work,) = found.values()
        work = json.loads(work)
        assert set(work) == set(wanted["<TID>"]["json"])
        assert type(work["run_at"]) is int
        assert 0 <= time.time() - work["run_at"] < 60
        assert work["queue"] == "default"
        assert json.loads(work["payload"])["class"] == "Sleeper"
        return
    assert set(found) == set(wanted)
    beaten = {"busy"} if wanted.get("busy") == "0" else set()  # the last beat may have met the job in its run
    for field in set(wanted) - {"info"} - beaten:
        if wanted[field].startswith("<"):
            assert re.fullmatch(WRITTEN[wanted[field]], found[field]), (field, found[field])
        else:
            assert found[field] == wanted[field], field
    if "info" in wanted:
        compare_info(json.loads(found["info"]), wanted["info"]["json"], float(found["beat"]))


def compare_info(info: dict[str, Any], expected: dict[str, Any], beat: float) -> None:
    assert set(info) == {*expected, "concurrency"}  # 6.x and 7.x read it here
    for field in ("tag", "capsules", "queues", "weights", "labels", "version", "embedded"):
        assert info[field] == expected[field], field
        assert type(info[field]) is type(expected[field]), field
    assert (type(info["started_at"]), type(info["pid"]), type(info["concurrency"])) == (float, int, int)
    assert 0 <= beat - info["started_at"] < 60
    assert info["identity"].split(":")[:2] == [info["hostname"], str(info["pid"])]
