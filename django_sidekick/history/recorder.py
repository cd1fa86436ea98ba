"""Writing the stream of events into SQL: one recorder of all hosts, elected by lease, each event once.

It runs in a thread of the service, with a connection to Redis and one to the database that nobody else uses.
"""

from __future__ import annotations

import logging
import random
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from django.db import Error

from django_sidekick.broker import connection
from django_sidekick.broker.events import BEGINNING, EventStream
from django_sidekick.broker.keys import Keys
from django_sidekick.broker.leadership import Leadership
from django_sidekick.broker.ownership import new_identity
from django_sidekick.broker.patience import Patience
from django_sidekick.conf import Settings
from django_sidekick.exceptions import SidekickError
from django_sidekick.history.arguments import Arguments
from django_sidekick.history.feed import Feed, Part
from django_sidekick.history.retention import Retention
from django_sidekick.history.rows import Batch, fold, in_ascii
from django_sidekick.history.store import Cursor, Store, is_of_content
from django_sidekick.wire.event import Event, decode

logger = logging.getLogger("sidekick")

FOLLOW_EVERY_S = 1.0
IDLE_S = 0.5
LONGEST_PAUSE_S = 2.0
LOCK_S = {"sqlite": 0.008}
"""How long one transaction may work while it holds its locks. On SQLite less than half of the 20 ms that a web request
may wait for its only lock: on a busy machine the wait is longer than the work."""

LOCK_ELSEWHERE_S = 0.1
FEWEST, MOST = 1000, 5000
"""Rows of one transaction."""


class Recorder:
    """Reads events, writes rows and its place in the stream in one transaction, takes the events out of the stream.

    Killed between the last two, it, or another, finds them again, and the place says that they are written. While SQL
    is away or the tables are missing, it warns once and tries again; the jobs never wait for it.
    """

    name = "recorder"

    def __init__(self, settings: Settings, classes: Mapping[str, type[Any]]) -> None:
        keys = Keys(settings.key_prefix)
        self._client = connection.worker_client(settings)
        self.patience = Patience(self._client)
        self._stream = EventStream(self._client, keys)
        self._lease = Leadership(self._client, keys.recorder, new_identity(), self.patience)
        self._store = Store(settings.history_database, keys.events)
        self._retention = Retention(settings)
        self._arguments = Arguments(settings, classes)
        self._feed = Feed(self._stream, self.patience, self._arguments, self._on_junk)
        self._without = Arguments(replace(settings, history_arguments=False), classes)
        self._cursor: Cursor | None = None
        self._enough = 1000
        self._failures = 0
        self._is_stopping = False
        self.junk = 0
        """How many events no row could be made of."""

    def turn(self) -> float:
        """Write a transaction, or wait for something to write. Return the seconds to rest before the next turn."""
        try:
            if not self._lease.holds():
                self._start_over()
                return FOLLOW_EVERY_S * random.uniform(0.5, 1.0)
            return self._record()
        except Error as error:
            return self._put_off(error)
        except SidekickError:  # Redis is away for good, or we are to end
            self._start_over()
            raise
        except Exception as error:
            self._start_over()
            self._failed(error)
            raise
        finally:
            if self._is_stopping:
                self._store.close()

    def stop(self) -> None:
        """Let this be the last turn."""
        self._is_stopping = True

    def resign(self) -> None:
        """Let another host go on at once."""
        self._lease.resign()

    def _record(self) -> float:
        cursor = self._cursor = self._cursor or self._store.cursor()
        part = self._feed.take(self._store.writer, self._enough)
        if part is None:
            return self._idle()
        written_to = cursor.position if part.generation == cursor.generation else BEGINNING
        if written := [blob for blob in part.blobs if blob.position <= written_to]:
            self._feed.start_over()
            self.patience.call(lambda: self._stream.remove(written, part.generation))
        elif not self._is_stopping:
            self._write(part)
        return 0.0

    def _idle(self) -> float:
        self._met()
        self._retention.turn(0)
        self._store.rest()
        self.patience.call(lambda: self._stream.wait(IDLE_S))
        return 0.0

    def _write(self, part: Part) -> None:
        """Write one transaction; nothing if another recorder was there first."""
        old, new = self._cursor, Cursor(part.blobs[-1].position, part.generation)
        assert old is not None  # _record has read it
        is_first: bool | None = None
        if part.prepared is not None:
            try:
                is_first = self._store.write(part.prepared, old, new)
            except Exception as error:
                if isinstance(error, Error) and not is_of_content(error):
                    raise
        if is_first is None:
            is_first = self._write_carefully(part, old, new)
        if not is_first:
            self._start_over()
            return
        self._cursor = new
        self._met()
        self._adapt(part.size)
        self.patience.call(lambda: self._stream.remove(part.blobs, part.generation))
        self._retention.turn(part.size)

    def _write_carefully(self, part: Part, old: Cursor, new: Cursor) -> bool:
        """One of the events, or of us, is at fault: each by itself, without what may be refused, or not at all."""
        variants = [self._variants(event) for blob in part.blobs for event in decode(blob.content)]
        refused = self._store.write_carefully(variants, old, new)
        for _ in range(refused or 0):
            self._on_junk("the database refuses its row")
        return refused is not None

    def _variants(self, event: Event) -> list[Batch]:
        """Return what may be written of an event: all; without its arguments; and that in letters every database has."""
        tries = (event, self._arguments), (event, self._without), (in_ascii(event), self._without)
        return [batch for variant, arguments in tries if (batch := self._batch(variant, arguments))]

    def _batch(self, event: Event, arguments: Arguments) -> Batch | None:
        try:
            return fold([event], arguments, lambda reason: None)
        except Exception:
            logger.debug("No row can be made of %r", event, exc_info=True)
            return None

    def _adapt(self, rows: int) -> None:
        """Learn how many rows can be written while the locks are held for so long and no longer."""
        if rows < self._enough // 2:
            return
        lock_s = LOCK_S.get(self._store.connection.vendor, LOCK_ELSEWHERE_S)
        fitting = int(lock_s * rows / max(self._store.held_s, 1e-6))
        self._enough = max(FEWEST, min(MOST, (self._enough + fitting) // 2))

    def _start_over(self) -> None:
        """Look again how far the mirror is written, and read the stream from its beginning."""
        self._cursor = None
        self._feed.start_over()

    def _failed(self, error: Exception) -> None:
        """Count it. From the second time on Redis is told, so that nobody waits for us."""
        self._failures += 1
        if self._failures > 1:
            self.patience.call(lambda: self._stream.say_stuck(str(error)[:200]))

    def _put_off(self, error: Error) -> float:
        """Leave it to another, or to later."""
        self._store.close()
        self._start_over()
        self._failed(error)
        if self._failures == 1:
            logger.warning(
                "The history of jobs cannot be written for now (%s: %s); jobs go on, and rows follow.",
                type(error).__name__, str(error).strip().partition("\n")[0],
            )  # fmt: skip
        self._lease.resign()
        pause_s: float = min(0.1 * 2 ** min(self._failures, 10), LONGEST_PAUSE_S)
        return pause_s * random.uniform(0.8, 1.2)

    def _met(self) -> None:
        if self._failures:
            self._failures = 0
            self.patience.call(self._stream.say_unstuck)
            logger.warning("The history of jobs is written again.")

    def _on_junk(self, reason: str) -> None:
        self.junk += 1
        if self.junk == 1:
            logger.warning(
                "An event has no place in the history, and others of its kind will not be told of: %s", reason
            )
