"""What people ask of Redis: where a job is, how much there is, and acts on single jobs. The cold path."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any, NamedTuple

from django_sidekick.broker import burial
from django_sidekick.broker.broker import Broker
from django_sidekick.broker.connection import Client
from django_sidekick.exceptions import SidekickError
from django_sidekick.wire import codec
from django_sidekick.wire.payload import scrub, timestamp

SLICE = 1000
MOST_SEARCHED = 100_000
"""Members looked at in each queue and set before a search gives up on it."""


class Location(NamedTuple):
    """Where a job was found: `kind` is queue, schedule, retry, dead or busy; `score` in epoch seconds."""

    kind: str
    key: str
    raw: bytes
    payload: dict[str, Any]
    score: float | None = None


class Inspector:
    """Find and move single jobs. Each act is one atomic move of the exact text that was found.

    Raise SidekickError, and change nothing, if the key it should go to holds another type.
    """

    def __init__(self, broker: Broker) -> None:
        self._broker = broker
        self._client: Client = broker.client
        self._keys = broker.keys

    def sizes(self) -> dict[str, int]:
        """Return the numbers of Sidekiq's bar: processed, failed, busy, enqueued, retry, schedule, dead."""
        queues = self.queues()
        keys, pipeline = self._keys, self._client.pipeline(transaction=False)
        for name in ("processed", "failed"):
            pipeline.get(keys.stat(name))
        for key in (keys.retry, keys.schedule, keys.dead):
            pipeline.zcard(key)
        processed, failed, retry, schedule, dead = pipeline.execute()
        return {
            "processed": int(processed or 0),
            "failed": int(failed or 0),
            "busy": self._busy(),
            "enqueued": sum(queues.values()),
            "retry": retry,
            "schedule": schedule,
            "dead": dead,
        }

    def dropped_events(self) -> int:
        """Return how many events of the mirror found no place in the stream, since ever."""
        return int(self._client.get(self._keys.events_dropped) or 0)

    def queues(self) -> dict[str, int]:
        """Return the size of each known queue, by name."""
        names = sorted(_text(name) for name in self._client.smembers(self._keys.queues))
        pipeline = self._client.pipeline(transaction=False)
        for name in names:
            pipeline.llen(self._keys.queue(name))
        return dict(zip(names, pipeline.execute(), strict=True))

    def paused(self) -> set[str]:
        """Return the names of the queues from which no worker takes anything."""
        return {_text(name) for name in self._client.smembers(self._keys.paused)}

    def pause(self, queue: str) -> bool:
        """Let no worker take anything from a queue until resume(). Return False if it is paused already.

        Holds from the next fetch on; what has been fetched runs. Sidekiq Pro's workers heed the same set.
        """
        return bool(self._client.sadd(self._keys.paused, queue))

    def resume(self, queue: str) -> bool:
        """Let workers take from a queue again, within 2 s. Return False if it was not paused."""
        return bool(self._client.srem(self._keys.paused, queue))

    def find(self, jid: str) -> Location | None:
        """Return where a job is, or None. Bounded: 100,000 members of each queue and set, in slices."""
        return next((found for found in self._search(jid)), None)

    def cancel(self, jid: str) -> bool:
        """Take a job out of its queue, the schedule or retry. Return False if it is in none of them."""
        return self._delete(self.find(jid), {"queue", "schedule", "retry"})

    def delete(self, jid: str) -> bool:
        """Take a job out of its queue or set, dead included. Return False if it is in none."""
        return self._delete(self.find(jid), {"queue", "schedule", "retry", "dead"})

    def reschedule(self, jid: str, at_s: float) -> bool:
        """Give a job of the schedule or retry another time, epoch seconds. Return False if it is in neither."""
        found = self.find(jid)
        if found is None or found.kind not in {"schedule", "retry"}:
            return False
        return self._move(found, found.key, "zset", found.raw, repr(at_s))

    def retry(self, jid: str) -> bool:
        """Put a job of retry, dead or the schedule on its queue now. Return False if it is in none.

        A failure is taken off its count, so that the manual retry does not eat one (studies/sidekiq.md 2.4).
        Raise SidekickError for a text that can be read but not written again (nested too deeply).
        """
        found = self.find(jid)
        if found is None or found.kind not in {"retry", "dead", "schedule"}:
            return False
        payload = dict(found.payload)
        count = payload.get("retry_count")
        if found.kind != "schedule" and isinstance(count, int) and not isinstance(count, bool):
            payload["retry_count"] = count - 1
        queue = payload["queue"] = _queue_of(payload)
        payload["enqueued_at"] = timestamp(time.time(), self._broker.settings.wire_times)
        return self._move(found, self._keys.queue(queue), "list", _text_of(payload, found.raw), queue)

    def kill(self, jid: str) -> bool:
        """Move a job from retry, the schedule or its queue to the dead set. Return False if it is in none.

        The set is then cut to DEAD_MAX_JOBS and DEAD_TIMEOUT, as after a death.
        """
        found = self.find(jid)
        if found is None or found.kind not in {"retry", "schedule", "queue"}:
            return False
        now_s = time.time()
        moved = self._move(found, self._keys.dead, "zset", found.raw, repr(now_s))
        for command, key, words in burial.trimming(self._broker.settings, self._keys, now_s):
            self._client.execute_command(command, key, *words)
        return moved

    def _delete(self, found: Location | None, kinds: set[str]) -> bool:
        if found is None or found.kind not in kinds:
            return False
        return self._move(found, found.key, "none", b"", "")

    def _move(self, found: Location, target: str, kind: str, raw: bytes, place: str) -> bool:
        source_kind = "list" if found.kind == "queue" else "zset"
        words: list[Any] = [source_kind, found.raw, kind, raw, place]
        moved = self._broker.run("replace", [found.key, target, self._keys.queues], words)
        if moved < 0:
            raise SidekickError(f"{target} holds something else than a {kind}; the job stays in {found.key}.")
        return bool(moved)

    def _search(self, jid: str) -> Iterator[Location]:
        needle = jid.encode(errors="surrogatepass")
        for kind, key in (
            ("schedule", self._keys.schedule),
            ("retry", self._keys.retry),
            ("dead", self._keys.dead),
        ):
            for raw, score in self._set_members(key):
                if needle in raw and (payload := _job(raw, jid)):
                    yield Location(kind, key, raw, payload, score)
        for name in self.queues():
            key = self._keys.queue(name)
            for raw in self._list_members(key):
                if needle in raw and (payload := _job(raw, jid)):
                    yield Location("queue", key, raw, payload)
        yield from self._search_inflight(jid, needle)

    def _search_inflight(self, jid: str, needle: bytes) -> Iterator[Location]:
        for owner in self._client.zrange(self._keys.owners, 0, -1):
            key = self._keys.inflight(_text(owner))
            for _, raw in self._client.hscan_iter(key, count=SLICE):
                if needle in raw and (payload := _job(raw, jid)):
                    yield Location("busy", key, raw, payload)

    def _set_members(self, key: str) -> Iterator[tuple[bytes, float]]:
        for first in range(0, MOST_SEARCHED, SLICE):
            entries = self._client.zrange(key, first, first + SLICE - 1, desc=True, withscores=True)
            yield from entries
            if len(entries) < SLICE:
                return

    def _list_members(self, key: str) -> Iterator[bytes]:
        for first in range(0, MOST_SEARCHED, SLICE):
            entries = self._client.lrange(key, first, first + SLICE - 1)
            yield from entries
            if len(entries) < SLICE:
                return

    def _busy(self) -> int:
        total = 0
        for identity in self._client.smembers(self._keys.processes):
            busy = self._client.hget(self._keys.process(_text(identity)), "busy") or b"0"
            total += int(busy) if busy.isdigit() else 0
        return total


def _job(raw: bytes, jid: str) -> dict[str, Any] | None:
    try:
        payload = codec.loads(raw)
    except ValueError:
        return None
    return payload if isinstance(payload, dict) and payload.get("jid") == jid else None


def _queue_of(payload: dict[str, Any]) -> str:
    """The queue it names; `default`, as for a due job, if that is no name."""
    queue = payload.get("queue")
    return queue if isinstance(queue, str) and queue and scrub(queue) == queue else "default"


def _text_of(payload: dict[str, Any], raw: bytes) -> bytes:
    """What cannot be written again (a number or a depth beyond all bounds) goes on as it came."""
    try:
        return codec.dumps(payload)
    except (TypeError, ValueError):
        return raw


def _text(name: bytes) -> str:
    return name.decode(errors="replace")
