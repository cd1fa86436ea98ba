"""A mirror on each kind of database, and events to put into it."""

from __future__ import annotations

import pytest
from django.db import connections

from django_sidekick.broker.broker import get_broker
from django_sidekick.broker.events import EventStream
from django_sidekick.conf import get_settings
from django_sidekick.history import store
from django_sidekick.history.recorder import Recorder
from django_sidekick.history.writers import GenericWriter
from django_sidekick.jobs.registry import JOBS
from django_sidekick.models import HistoryCursor, JobAttempt, JobRecord
from django_sidekick.wire import codec, event
from django_sidekick.wire.outcome import Delivery, Outcome


class Mirror:
    """The tables of one database, and the stream."""

    def __init__(self, alias, redis):
        self.alias = alias
        self.redis = redis
        self.stream = EventStream(redis, get_broker().keys)

    @property
    def rows(self):
        return JobRecord.objects.using(self.alias)

    @property
    def attempts(self):
        return JobAttempt.objects.using(self.alias).order_by("record_id", "number", "pk")

    def row(self, jid="a"):
        return self.rows.get(pk=jid)

    def recorder(self):
        return Recorder(get_settings(), JOBS)

    def append(self, blob):
        self.redis.xadd("sk:events", {"b": blob})
        self.redis.incrby("sk:events:bytes", len(blob))

    def tell(self, *outcomes, worker="host:1:abc"):
        self.append(event.encode(worker, outcomes))

    def move(self, kind, at_s, due_at_s=None, **fields):
        self.append(event.encode_moves(kind, [raw(**fields)], at_s, due_at_s))

    def write(self, recorder=None):
        """Let a recorder write all there is; one that is made for it leaves the lead at once."""
        is_own, recorder = recorder is None, recorder or self.recorder()
        for _ in range(200):
            if not self.redis.xlen("sk:events"):
                break
            recorder.turn()
        if is_own:
            recorder.resign()
        assert not self.redis.xlen("sk:events"), "it is not written"
        return recorder

    def clear(self):
        for model in (JobRecord, JobAttempt, HistoryCursor):
            model.objects.using(self.alias).all()._raw_delete(self.alias)


def raw(jid="a", **fields):
    job = {"retry": True, "queue": "default", "args": [1], "class": "J", "jid": jid, "created_at": 999_000, "enqueued_at": 999_500}
    return codec.dumps({**job, **fields})


def outcome(kind="done", *, started_at_s=1000.0, duration_s=0.25, error=None, at_s=0.0, **fields):
    text = raw(**fields)
    return Outcome(kind, Delivery(1, "default", text), codec.loads(text), started_at_s, duration_s, error, None, at_s)


@pytest.fixture(params=["sqlite", "postgresql", "mariadb", "generic", "generic on postgresql"])
def mirror(request, redis, sidekick_settings, django_db_blocker, monkeypatch):
    """One on each writer."""
    kind = request.param.rpartition(" ")[2].replace("generic", "sqlite")
    alias = request.getfixturevalue(f"{kind}_alias")
    sidekick_settings(HISTORY_DATABASE=alias, HISTORY_RETENTION=None)
    if "generic" in request.param:
        monkeypatch.setattr(store, "writer_of", GenericWriter)
    with django_db_blocker.unblock():
        made = Mirror(alias, redis)
        made.clear()
        yield made
        made.clear()
        connections[alias].close()


@pytest.fixture
def sqlite_mirror(redis, sidekick_settings, sqlite_alias, django_db_blocker):
    """One on SQLite, where the writer makes no difference."""
    sidekick_settings(HISTORY_DATABASE=sqlite_alias, HISTORY_RETENTION=None)
    with django_db_blocker.unblock():
        made = Mirror(sqlite_alias, redis)
        made.clear()
        yield made
        made.clear()
        connections[sqlite_alias].close()
