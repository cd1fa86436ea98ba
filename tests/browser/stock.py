"""What stands in Redis when somebody looks: an ordinary day, a hostile one, and what Ruby has written."""

from __future__ import annotations

import base64
import json
import time
import zlib
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

IDENTITY = "shop-1:4711:0f1e2d3c4b5a"
SAMPLES = Path(__file__).resolve().parent.parent / "golden" / "samples"
PLAIN = str
"""Leave each word as it is."""


def jid(number: int) -> str:
    return f"{number:024x}"


class Stock:
    """Writes as Sidekiq writes; each word that a person chose goes through `word` first."""

    def __init__(self, redis: Any, word: Callable[[str], str] = PLAIN) -> None:
        self.redis, self.word = redis, word
        self.now_s = time.time()

    def job(self, number: int, name: str = "shop.jobs.QuoteJob", queue: str = "default", **fields: Any) -> dict[str, Any]:
        word, now_ms = self.word, int(self.now_s * 1000)
        return {
            "class": word(name), "args": [number, word("an argument")], "kwargs": {word("note"): word("a keyword")},
            "jid": jid(number), "queue": word(queue), "retry": True, "tags": [word("carrier")],
            "created_at": now_ms - 60_000, "enqueued_at": now_ms - 60_000, **fields,
        }  # fmt: skip

    def failed(self, number: int, name: str = "shop.jobs.QuoteJob", **fields: Any) -> dict[str, Any]:
        lines = [self.word(f"shop/jobs.py:{line}:in `perform'") for line in (7, 9)]
        trace = base64.b64encode(zlib.compress(json.dumps(lines).encode())).decode()
        return self.job(
            number, name, error_class=self.word("HTTPError"), error_message=self.word("the carrier said 503"),
            error_backtrace=trace, failed_at=int(self.now_s * 1000) - 50_000, retry_count=1,
            retried_at=int(self.now_s * 1000) - 20_000, **fields,
        )  # fmt: skip

    def enqueue(self, queue: str, *jobs: dict[str, Any]) -> None:
        self.redis.sadd("queues", as_bytes(self.word(queue)))
        for job in jobs:
            self.redis.lpush(b"queue:" + as_bytes(self.word(queue)), json.dumps(job))

    def put(self, key: str, at_s: float, *jobs: dict[str, Any]) -> None:
        for place, job in enumerate(jobs):
            self.redis.zadd(key, {json.dumps(job): self.now_s + at_s + 60 * place})

    def process(self, identity: str = IDENTITY, *running: dict[str, Any]) -> None:
        word = self.word
        info = {
            "hostname": word("shop-1"), "started_at": self.now_s - 3600, "pid": 4711, "tag": word("shop"),
            "concurrency": 10, "queues": [word("default"), word("mail")], "weights": [{word("default"): 2, word("mail"): 1}],
            "capsules": {"default": {"concurrency": 10, "mode": "weighted", "weights": {word("default"): 2}}},
            "labels": [word("reliable")], "identity": identity, "version": word("8.1.7"), "embedded": False,
        }  # fmt: skip
        beat = {"info": json.dumps(info), "concurrency": 10, "busy": len(running), "beat": self.now_s, "quiet": "false", "rtt_us": 210, "rss": 81_920}
        self.redis.sadd("processes", identity)
        self.redis.hset(identity, mapping=beat)
        for place, job in enumerate(running):
            work = {"queue": job["queue"], "payload": json.dumps(job), "run_at": int(self.now_s) - 30}
            self.redis.hset(f"{identity}:work", f"t{place}", json.dumps(work))

    def metrics(self, name: str, processed: int, failed: int, ms: int) -> None:
        now = datetime.fromtimestamp(self.now_s - 120, UTC)
        counts = {"p": processed, "f": failed, "ms": ms}
        minute = f"{now.hour}:{now.minute:02d}"
        for bucket in (minute, minute[:-1]):
            fields = {as_bytes(self.word(name)) + b"|" + what.encode(): count for what, count in counts.items()}
            self.redis.hset(f"j|{now:%y%m%d}|{bucket}", mapping=fields)

    def fill(self) -> None:
        """An ordinary day: something of everything. jids count from 1 (queues), 101 (retries), 201, 301, 401 (busy)."""
        self.enqueue("default", *(self.job(number) for number in (1, 2, 3)))
        self.enqueue("mail", self.job(4, "shop.jobs.ConfirmOrderJob", "mail"))
        self.enqueue("low")
        self.redis.sadd("paused", as_bytes(self.word("mail")))
        self.put("retry", 600, self.failed(101), self.failed(102, "shop.jobs.ThumbnailJob"), self.failed(103))
        self.put("schedule", 3600, self.job(201, "shop.jobs.CleanUpOrderJob", "low"), self.job(202))
        self.put("dead", -7200, self.failed(301), self.failed(302, "shop.jobs.ThumbnailJob"))
        self.process(IDENTITY, self.job(401, "shop.jobs.ThumbnailJob"))
        for name, count in (("processed", 12_345), ("failed", 67)):
            self.redis.set(f"stat:{name}", count)
            self.redis.set(f"stat:{name}:{datetime.fromtimestamp(self.now_s, UTC):%Y-%m-%d}", count // 10)
        self.metrics("shop.jobs.QuoteJob", 40, 7, 52_300)
        self.metrics("shop.jobs.ThumbnailJob", 25, 0, 9_100)


def as_bytes(text: str) -> bytes:
    """Lone surrogates, as Redis can hold them."""
    return text.encode("utf-8", "surrogatepass")


def write_sample(redis: Any, case: dict[str, Any]) -> None:
    """Put what a real Sidekiq left behind into Redis, its placeholders filled with what they stand for."""
    now = datetime.now(UTC)
    for name, entry in case["keys"].items():
        key, kind, value = _filled(name, now), entry["type"], entry["value"]
        if kind == "set":
            redis.sadd(key, *(_filled(member, now) for member in value))
        elif kind == "list":
            redis.rpush(key, *(_text(member, now) for member in value))
        elif kind == "zset":
            redis.zadd(key, {_text(member["member"], now): now.timestamp() + place for place, member in enumerate(value)})
        elif kind == "hash":
            redis.hset(key, mapping={_filled(field, now): _text(inner, now) for field, inner in value.items()})
        else:
            redis.set(key, base64.b64decode(value["base64"]) if isinstance(value, dict) else _filled(value, now))


def _text(entry: Any, now: datetime) -> str:
    if isinstance(entry, str):
        return _filled(entry, now)
    if "text" in entry:
        return str(entry["text"])
    return _filled(json.dumps(_plain(entry["json"])), now)


def _plain(value: Any) -> Any:
    if isinstance(value, list):
        return [_plain(item) for item in value]
    if not isinstance(value, dict):
        return value
    if "string of JSON" in value:
        return json.dumps(_plain(value["string of JSON"]))
    if lines := value.get("zlib+base64 of JSON"):
        return base64.b64encode(zlib.compress(json.dumps(lines).encode())).decode()
    return {name: _plain(item) for name, item in value.items()}


def _filled(text: str, now: datetime) -> str:
    ms, seconds = str(int(now.timestamp() * 1000) - 5000), str(now.timestamp() - 5)
    minute = f"{now.hour}:{now.minute:02d}"
    for mark, filling in {
        '"<MS>"': ms, r"\"<MS>\"": ms, '"<SEC>"': str(int(float(seconds))), '"<S>"': seconds, "<S>": seconds, "<MS>": ms,
        '"<PID>"': "4711", "<US>": "210", "<KB>": "81920", "<HOST>": "ruby-1", "<TID>": "t1", "<IDENTITY>": "ruby-1:4711:0f1e2d3c4b5a",
        "<YYMMDD>": f"{now:%y%m%d}", "<H:MM>": minute, "<H:M>": minute[:-1], "<D-H:MM>": f"{now.day}-{minute}",
        "<YYYY-MM-DD>": f"{now:%Y-%m-%d}", "<YYYYMMDD>": f"{now:%Y%m%d}", "<ISO-MINUTE>": f"{now:%Y-%m-%dT%H:%M:00Z}",
        "<DURATION-MS>": "12", "<DURATION-S>": "1.2", "<SEC>": str(int(float(seconds))), "<PID>": "4711",
        **{f"<JID:{number}>": jid(number) for number in range(1, 10)},
    }.items():  # fmt: skip
        text = text.replace(mark, filling)
    return text
