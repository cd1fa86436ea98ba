"""Who works: processes as they have shown themselves at their last beat, what they run, and signals to them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

from django_sidekick.broker import scripts
from django_sidekick.broker.console import Command, Question
from django_sidekick.broker.keys import PROCESS_TTL_S, Keys
from django_sidekick.broker.replies import count, names_in, pairs_in
from django_sidekick.wire import codec
from django_sidekick.wire.payload import scrub
from django_sidekick.wire.shown import read, word

MOST_LISTED = 1_000
"""Processes that a page reads, those whose identities come first; and running jobs, of all of them together."""

QUIET, STOP = "TSTP", "TERM"
FIELDS = ("info", "concurrency", "busy", "beat", "quiet", "rss", "rtt_us")
_US = 1_000_000
_KIB = 1024


class Process(NamedTuple):
    """One process at its last beat. Sizes in bytes, times in epoch seconds, None where it does not say.

    `reads`: its queues, each with the threads that read it. `asked`: signals that wait for its beat.
    """

    identity: str
    hostname: str
    pid: str
    tag: str
    labels: tuple[str, ...]
    reads: dict[str, int]
    threads: int
    busy: int
    rss_bytes: int | None
    rtt_s: float | None
    beat_s: float | None
    started_at_s: float | None
    version: str
    is_quiet: bool
    is_embedded: bool
    asked: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """Return host:pid, as people name it; the identity where it says neither."""
        return f"{self.hostname}:{self.pid}" if self.hostname and self.pid else scrub(self.identity)


class Running(NamedTuple):
    """One job that a process runs: the text of its payload, and since when, epoch seconds."""

    identity: str
    thread: str
    queue: str
    raw: bytes
    since_s: float | None


class Work(NamedTuple):
    """What processes run, as of their last beats: of `total` jobs, those that were read; `known` processes there are."""

    processes: list[Process]
    running: list[Running]
    total: int
    known: int


def identities(keys: Keys) -> list[Command]:
    """Return the command whose reply names_in() reads as the identities of processes."""
    return [("SMEMBERS", keys.processes)]


def describing(keys: Keys, names: Sequence[str]) -> list[Command]:
    """Return the command for each of these processes that described() reads."""
    return [("HMGET", keys.process(name), *FIELDS) for name in names]


def described(names: Sequence[str], replies: Sequence[Any]) -> list[Process]:
    """Return the processes that still live, by host and pid: the hash of one that has died is gone after 60 s."""
    found = [
        _process(name, reply)
        for name, reply in zip(names, replies, strict=True)
        if isinstance(reply, list) and reply[0] is not None
    ]
    return sorted(found, key=lambda p: (p.hostname, len(p.pid), p.pid, p.identity))


def processes(keys: Keys) -> Question:
    """Ask for the list of Process, with the signals that wait for them, in two round trips."""
    names = names_in((yield identities(keys))[0])[:MOST_LISTED]
    signals: list[Command] = [("LRANGE", keys.signals(name), 0, 9) for name in names]
    replies = yield [*describing(keys, names), *signals]
    asked = dict(zip(names, map(_words, replies[len(names) :]), strict=True))
    return [p._replace(asked=asked[p.identity]) for p in described(names, replies[: len(names)])]


def known(keys: Keys) -> Question:
    """Ask how many processes there are, or were until a minute ago, in one round trip."""
    return count((yield [("SCARD", keys.processes)])[0])


def work(keys: Keys, identity: str = "") -> Question:
    """Ask for Work, the longest run first, in two round trips; with an identity, for what that process runs."""
    everyone = names_in((yield identities(keys))[0])
    names = everyone[:MOST_LISTED]
    asked = [name for name in everyone if name == identity] if identity else names
    lists = [keys.work(name) for name in asked]
    replies = yield [
        *describing(keys, names),
        ("EVAL", scripts.load("work").text, len(lists), *lists, MOST_LISTED),
    ]
    total, *entries = replies[-1] if isinstance(replies[-1], list) else [0]
    running = [_running(name, *entry) for name, flat in zip(asked, entries, strict=False) for entry in pairs_in(flat)]
    running.sort(key=lambda job: (math.inf if job.since_s is None else job.since_s, job.thread))
    return Work(described(names, replies[:-1]), running, total, len(everyone))


def signal(keys: Keys, identity: str, name: str) -> list[Command]:
    """Return what asks a process to be quiet (QUIET) or to stop (STOP): its next beat takes it, within 10 s.

    Source: the golden sample api_quiet. One MULTI; forgotten after 60 s, so that no later process obeys it.
    """
    return [
        ("LPUSH", keys.signals(identity), name),
        ("EXPIRE", keys.signals(identity), PROCESS_TTL_S),
    ]


def _process(identity: str, reply: list[Any]) -> Process:
    info = read(reply[0]) or {}
    concurrency, busy, beat, quiet, rss, rtt_us = reply[1:]
    threads = count(concurrency) or _whole(info.get("concurrency"))
    labels = info.get("labels")
    return Process(
        identity=identity,
        hostname=word(info.get("hostname")),
        pid=word(info.get("pid")),
        tag=word(info.get("tag")),
        labels=tuple(map(word, labels[:20])) if isinstance(labels, list) else (),
        reads=_reads(info, threads),
        threads=threads,
        busy=count(busy),
        rss_bytes=count(rss) * _KIB if count(rss) else None,
        rtt_s=count(rtt_us) / _US if count(rtt_us) else None,
        beat_s=_epoch_s(beat),
        started_at_s=_epoch_s(info.get("started_at")),
        version=word(info.get("version")),
        is_quiet=quiet == b"true",
        is_embedded=info.get("embedded") is True,
    )


def _reads(info: dict[str, Any], threads: int) -> dict[str, int]:
    """By capsule, where it has any (Sidekiq 8.0.9 and later), else from the list of queues."""
    reads: dict[str, int] = {}
    capsules = info.get("capsules")
    for capsule in list(capsules.values())[:100] if isinstance(capsules, dict) else ():
        if isinstance(capsule, dict) and isinstance(capsule.get("weights"), dict):
            for name in list(capsule["weights"])[:MOST_LISTED]:
                reads[name] = reads.get(name, 0) + _whole(capsule.get("concurrency"))
    queues = info.get("queues")
    if not reads and isinstance(queues, list):
        reads = {name: threads for name in queues[:MOST_LISTED] if isinstance(name, str)}
    return reads


def _running(identity: str, thread: bytes, text: bytes) -> Running:
    entry = read(text) or {"payload": text.decode(errors="replace")}
    payload = entry.get("payload")
    if isinstance(payload, str):
        raw = payload.encode(errors="replace")
    else:
        try:
            raw = codec.dumps(payload)
        except (TypeError, ValueError):
            raw = text
    since_s = _epoch_s(entry.get("run_at"))
    name = thread.decode(errors="replace")
    return Running(identity, name, word(entry.get("queue")), raw, since_s)


def _epoch_s(value: Any) -> float | None:
    """A time of the beat: always seconds, as a number or the text of one."""
    try:
        seconds = float(value)
    except (TypeError, ValueError, OverflowError):
        return None
    return seconds if math.isfinite(seconds) and abs(seconds) < 1e11 else None


def _whole(value: Any) -> int:
    return value if type(value) is int and 0 <= value < 10**9 else 0


def _words(reply: Any) -> tuple[str, ...]:
    if not isinstance(reply, list):
        return ()
    return tuple(word.decode(errors="replace")[:20] for word in reply)
