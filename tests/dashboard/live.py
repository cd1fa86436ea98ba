"""What workers and clients write into Redis, and what they should not have."""

from __future__ import annotations

import json
import time

IDENTITY = "host:12:abcdefabcdef"
SCRIPT = "<script>alert(1)</script>"
JUNK = [b"", b"\xff\xfe", b"no json", b"[1]", b"null", b"7", b'"text"', b"{}", b'{"class":[1],"args":{"a":1},"queue":7,"tags":"odd","jid":{},"enqueued_at":1e300}',
        b'{"class":"\\ud800","args":["\\udfff"],"jid":"\\ud800","created_at":"soon","tags":[null,{"a":1}]}',
        json.dumps({"class": SCRIPT, "jid": SCRIPT, "args": [SCRIPT], "tags": [SCRIPT], "queue": SCRIPT, "enqueued_at": -1}).encode(),
        b"[" * 100_000, b'{"class":"A","args":[' + b"9" * 5000 + b"]}"]  # fmt: skip
NAMES = [b"a/b", b"a b", b"it's \"q\"", b"a\nb", b"\xff", b"..", b"", b"~61", SCRIPT.encode(), "ü".encode(), b"%41"]


def job(jid="j" * 24, job_class="HardJob", queue="low", args=(1, "a"), ago_s=0.0, **fields):
    enqueued_at = int((time.time() - ago_s) * 1000)
    return json.dumps({"class": job_class, "jid": jid, "args": list(args), "queue": queue, "enqueued_at": enqueued_at, **fields})


def enqueue(redis, *texts, queue="low"):
    """The first text is the next to run."""
    redis.sadd("queues", queue)
    redis.lpush(f"queue:{queue}", *texts)


def beat(redis, identity=IDENTITY, queues=("low",), threads=5, busy=1, ago_s=1.0, **fields):
    host, pid, _ = identity.split(":")
    info = {"hostname": host, "pid": int(pid), "tag": "shop", "labels": ["blue"], "queues": list(queues), "identity": identity, "embedded": False, "started_at": time.time() - 3600, "version": "8.1.7",
            "capsules": {"default": {"concurrency": threads, "mode": "strict", "weights": dict.fromkeys(queues, 0)}}}  # fmt: skip
    redis.sadd("processes", identity)
    redis.hset(identity, mapping={"info": json.dumps({**info, **fields}), "concurrency": threads, "busy": busy, "beat": time.time() - ago_s, "quiet": "false", "rss": 50_000, "rtt_us": 300})


def run(redis, text, identity=IDENTITY, thread="t1", ago_s=5, queue="low"):
    entry = {"queue": queue, "payload": text, "run_at": int(time.time() - ago_s)}
    redis.hset(f"{identity}:work", thread, json.dumps(entry))


def hostile(redis):
    """Anything, everywhere that these pages look."""
    redis.sadd("queues", *NAMES, "wrong")
    redis.sadd("paused", *NAMES)
    for name in NAMES:
        redis.rpush(b"queue:" + name, *JUNK)
    redis.set("queue:wrong", "no list")
    for number, info in enumerate([*JUNK, *map(json.dumps, odd_infos())]):
        identity = f"p{number}"
        redis.sadd("processes", identity)
        redis.hset(identity, mapping={"info": info, "beat": "nan", "busy": "many", "rss": "-1", "rtt_us": "1e9", "concurrency": "9" * 30})
        redis.hset(f"{identity}:work", mapping={b"\xff%d" % n: raw for n, raw in enumerate([*JUNK, *map(json.dumps, odd_works())])})
        redis.rpush(f"{identity}-signals", b"\xff", SCRIPT)
    redis.sadd("processes", b"\xff", SCRIPT, "string")
    redis.hset(SCRIPT, "info", json.dumps({"hostname": SCRIPT, "pid": SCRIPT, "tag": SCRIPT, "labels": [SCRIPT], "queues": [SCRIPT, "\ud800"]}))
    redis.set("string", "no hash")
    redis.set(f"{SCRIPT}:work", "no hash")
    redis.set("stat:processed", "-inf")


def odd_infos():
    return [{"hostname": [1], "pid": {}, "tag": 1e308, "labels": "x", "queues": {"a": 1}, "capsules": [1], "started_at": "1e999"},
            {"capsules": {"a": {"weights": {"\ud800": "x"}, "concurrency": "5"}, "b": 1}, "started_at": -1e300, "queues": [1, None]},
            {"labels": [None, {"a": 1}], "concurrency": -1, "embedded": "yes", "capsules": {"a": {"weights": [1]}}}]  # fmt: skip


def odd_works():
    return [{"queue": [1], "payload": {"class": "Old", "args": [1], "jid": "b" * 24}, "run_at": 1e300},
            {"queue": "\ud800", "payload": "\ud800", "run_at": "nan"}, {"payload": 7, "run_at": True}, {"queue": "../..", "run_at": -5}]  # fmt: skip


def round_trips(redis, get):
    """Return how many commands, and how many writes to the socket, one call makes Redis see, and its answer."""
    before = redis.info("commandstats")
    answer = get()
    after = redis.info("commandstats")
    seen = {name: stats["calls"] - before.get(name, {"calls": 0})["calls"] for name, stats in after.items()}
    return {name.removeprefix("cmdstat_"): calls for name, calls in seen.items() if calls}, answer
