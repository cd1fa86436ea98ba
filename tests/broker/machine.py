"""What the state machine stands on: what is where in Redis, an owner with its memory, the model, the invariant."""

from __future__ import annotations

import collections
import json
import os
import re
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import redis as redis_py
from hypothesis.stateful import RuleBasedStateMachine, invariant

from django_sidekick.broker.broker import Broker
from django_sidekick.broker.due import DueJobs
from django_sidekick.broker.inspector import Inspector
from django_sidekick.broker.ownership import Ownership
from django_sidekick.broker.recovery import OwnerRegister
from django_sidekick.conf import Settings, get_settings
from django_sidekick.worker.journal import Journal, path_of
from django_sidekick.worker.recovery import TakeOver
from tests.conftest import SERVER

QUEUES = ("critical", "default", "low")
DEAD_PID = 2**22 + 1
KEYS = re.compile(
    r"(queue:(critical|default|low)|queues|schedule|retry|dead|paused"
    r"|sk:(owners|events|events:bytes|push:[0-9a-f]+|inflight:[^:|]+:\d+:[0-9a-f]{12}|crashes:[0-9a-f]{24}"
    r"|wake:[^:|]+:\d+:[0-9a-f]{12}\|(critical|default|low)))\Z"
)
"""Every key that broker/keys.py names and that these moves may write."""


def jid_of(raw: bytes) -> str:
    return str(json.loads(raw)["jid"])


def events_of(worker: str, outcomes: Any) -> bytes:
    return json.dumps([[jid_of(o.delivery.raw), o.kind] for o in outcomes]).encode()


def events(redis: Any) -> collections.Counter[tuple[str, str]]:
    """How often each job's end, by kind, was written."""
    blobs = [json.loads(fields[b"b"]) for _, fields in redis.xrange("sk:events")]
    return collections.Counter((jid, kind) for blob in blobs for jid, kind in blob)


def places(redis: Any) -> dict[str, list[str]]:
    """Where each job is: the names of the keys that hold it, one for each time it is there."""
    found: dict[str, list[str]] = collections.defaultdict(list)
    for name in sorted(key.decode() for key in redis.keys("*")):
        assert KEYS.match(name), f"the key {name} has no name in broker/keys.py"
        for raw in _payloads(redis, name):
            found[jid_of(raw)].append(name)
    return dict(found)


def _payloads(redis: Any, name: str) -> list[bytes]:
    if name.startswith(("queue:", "sk:wake:")):
        return list(redis.lrange(name, 0, -1))
    if name in ("schedule", "retry", "dead"):
        return list(redis.zrange(name, 0, -1))
    if name.startswith("sk:inflight:"):
        return [raw for field, raw in redis.hgetall(name).items() if field.isdigit()]
    return []


class Owner:
    """A process: what it owns in Redis, what it remembers of that, its journal. It can lose a reply."""

    def __init__(self, settings: Settings) -> None:
        self.own = Ownership(settings, QUEUES)
        self.own._enter(f"host:{DEAD_PID}:{os.urandom(6).hex()}")
        self.own.register()
        self.journal = self._new_journal(settings)
        self.held: list[Any] = []
        self.settled: list[Any] = []
        self.finished: dict[int, str] = {}
        self.bases = [0]
        """The numbers that its calls have begun from: after a batch of two the next one's is two more."""
        self.is_fenced = False
        self.is_dead = False
        """Whether a recoverer was certain of it: then no wait of its can be held any more."""

    @property
    def identity(self) -> str:
        return self.own.identity

    def start_over(self) -> None:
        """Take a new name as the intake does; the journal goes with it, unless a recoverer has removed it."""
        self.own.start_over()
        if self.journal.path.exists():
            self.journal.move_to(path_of(self.own.settings.runtime_dir, self.own.identity))
        else:
            self.journal = self._new_journal(self.own.settings)
        self.held, self.settled, self.is_fenced, self.is_dead = [], [], False, False

    def _new_journal(self, settings: Settings) -> Journal:
        return Journal(path_of(settings.runtime_dir, self.own.identity), 4, 100)

    def close(self) -> None:
        self.own.close()
        self.journal.remove()


class World(RuleBasedStateMachine):
    """A flushed Redis, the product's parts on it, and the model.

    `pushed`: each jid, and how it must have ended, or None. `events`: how often each end must have been written.
    """

    def __init__(self):
        super().__init__()
        self.redis = redis_py.Redis.from_url(SERVER[0].url)
        self.redis.flushall()
        self.folder = tempfile.TemporaryDirectory(prefix="sidekick-machine-")
        self.settings = replace(get_settings(), runtime_dir=Path(self.folder.name))
        self.broker = Broker(self.settings)
        self.due = DueJobs(self.broker.client, self.broker.settings)
        self.inspector = Inspector(self.broker)
        self.register = OwnerRegister(self.broker.client, self.settings)
        self.recoverers = [TakeOver(self.register, self.settings, events_of) for _ in range(2)]
        self.owners, self.gone, self.old_names, self.pushed = [], [], [], {}
        self.events = collections.Counter()
        self.count = 0

    def teardown(self):
        try:
            self.end()
        finally:
            for owner in (*self.owners, *self.gone):
                owner.close()
            self.broker.client.close()
            self.redis.close()
            self.folder.cleanup()

    def end(self):
        """All leave or are recovered; then nothing of theirs may be left, and no job either."""
        for owner in self.owners:
            if not owner.is_fenced:
                owner.own.leave()
        for name in map(bytes.decode, self.redis.zrange("sk:owners", 0, -1)):
            turns = iter(range(100))
            while self.register.recover(name, certain=True).more:
                assert next(turns, None) is not None, "a recovery without end"
            self.redis.hset(f"sk:inflight:{name}", "fenced", 1)  # long ago: nobody remembers it any more
            self.register.recover(name, certain=True)
        self.each_job_is_in_one_place()
        left = [key.decode() for key in self.redis.keys("sk:*")]
        assert [key for key in left if not key.startswith(("sk:push:", "sk:crashes:", "sk:events"))] == []
        assert all(self.redis.ttl(key) > 0 for key in left if not key.startswith("sk:events"))

    # The invariant

    @invariant()
    def each_job_is_in_one_place(self):
        there = places(self.redis)
        assert {jid: found for jid, found in there.items() if len(found) > 1} == {}, "in two places"
        assert set(there) == {jid for jid, end in self.pushed.items() if end is None}, "lost, or back after its end"
        assert events(self.redis) == self.events, "an event too many or too few"

    @invariant()
    def what_an_owner_holds_is_on_record(self):
        for owner in self.owners:
            if owner.own.sequence > owner.bases[-1]:
                owner.bases.append(owner.own.sequence)
        owners = set(self.redis.zrange("sk:owners", 0, -1))
        held = {key.split(b":", 2)[2] for key in self.redis.keys("sk:inflight:*")}
        woken = {key.split(b":", 2)[2].split(b"|")[0] for key in self.redis.keys("sk:wake:*")}
        assert held | woken <= owners, "jobs of nobody"
