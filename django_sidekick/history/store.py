"""The mirror's tables on one database: what is written, and how far, in one transaction."""

from __future__ import annotations

import time
from collections.abc import Sequence
from functools import cached_property
from typing import Any, NamedTuple

from django.db import DataError, IntegrityError, connections, transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from django.utils import timezone

from django_sidekick.broker.events import Position
from django_sidekick.history.postgresql import PostgreSQLWriter
from django_sidekick.history.rows import Batch
from django_sidekick.history.writers import GenericWriter, SQLiteWriter, Writer
from django_sidekick.models import HistoryCursor

CONNECTION_S = 60.0
SILENT_S = 10
"""PostgreSQL ends a transaction of ours from which it has heard nothing for so long. Else that of a host that is gone, or
stopped, holds the cursor until TCP gives it up, two hours by default, and no other recorder could write."""
_CONTENT_STATES = ("22", "23", "54")
"""Classes of SQLSTATE: data exception, integrity violation, limit exceeded."""

_CONTENT_NUMBERS = (1366, 1406, 1264, 3140, 4025, 1267, 1270, 1271)
"""Of MariaDB and MySQL: a text, a length, a range, a JSON text, a constraint that does not fit; the last three: letters
that the column compared with has not."""


class Cursor(NamedTuple):
    """How far which stream has been written."""

    position: Position
    generation: str


class Store:
    """One thread's: it uses that thread's connection. Raise Django's database errors."""

    def __init__(self, alias: str, stream: str) -> None:
        self.alias = alias
        self._stream = stream
        self._writer: Writer | None = None
        self._close_at = float("inf")
        self.held_s = 0.0
        """How long the last write has held its locks. On SQLite CPU time is taken: on a busy machine the wall clock
        would say that smaller batches are needed, and they are not."""

    @property
    def connection(self) -> BaseDatabaseWrapper:
        """The connection of this thread; nothing is opened by asking for it."""
        return connections[self.alias]

    @property
    def writer(self) -> Writer:
        """How this database is written, by this thread's connection."""
        if self._writer is None:
            self._writer = writer_of(self.connection)
            self._close_at = time.monotonic() + CONNECTION_S
        return self._writer

    def cursor(self) -> Cursor:
        """Return how far the stream has been written; its row is made if there is none."""
        row, _ = HistoryCursor.objects.using(self.alias).get_or_create(pk=self._stream)
        milliseconds, _, number = row.position.partition("-")
        return Cursor((int(milliseconds), int(number or 0)), row.generation)

    def write(self, prepared: Any, old: Cursor, new: Cursor) -> bool:
        """Write what this store's writer has prepared, and move the cursor from `old` to `new`.

        Return False, and write nothing, if it does not stand there.
        The cursor comes first: it makes a second recorder wait, and on SQLite takes the lock for writing at once.
        """
        with transaction.atomic(using=self.alias):
            if not self._move(old, new):
                return False
            clock = time.thread_time if self.connection.vendor == "sqlite" else time.perf_counter
            began = clock()
            self.writer.write(prepared)
        self.held_s = clock() - began
        return True

    def write_carefully(self, batches: Sequence[Sequence[Batch]], old: Cursor, new: Cursor) -> int | None:
        """As write(), each of `batches` by itself: the first of its variants that the database takes.

        Return how many it took in no variant; None if the cursor does not stand at `old`.
        """
        with transaction.atomic(using=self.alias):
            if not self._move(old, new):
                return None
            return sum(not self._write_one(variants) for variants in batches)

    def rest(self) -> None:
        """Close the connection if it has been open for a minute: between batches, and never under load."""
        if time.monotonic() > self._close_at:
            self.close()

    def close(self) -> None:
        """Close the connection of this thread."""
        self._writer = None
        self._close_at = float("inf")
        self.connection.close()

    def _write_one(self, variants: Sequence[Batch]) -> bool:
        for batch in variants:
            try:
                with transaction.atomic(using=self.alias):
                    self.writer.write(self.writer.prepare(batch))
            except Exception as error:
                if not is_of_content(error):
                    raise
            else:
                return True
        return False

    def _move(self, old: Cursor, new: Cursor) -> bool:
        """Move the cursor. Return False if it does not stand at `old`."""
        now = self.connection.ops.adapt_datetimefield_value(timezone.now())
        to, place = (_text(new.position), new.generation, now), (self._stream, _text(old.position), old.generation)
        with self.connection.cursor() as cursor:
            if self.connection.vendor == "postgresql":
                cursor.execute(f"SET LOCAL idle_in_transaction_session_timeout = '{SILENT_S}s'")
            cursor.execute(self._moving, [*to, *place])
            return bool(cursor.rowcount == 1)

    @cached_property
    def _moving(self) -> str:
        """The statement that moves the cursor: the ORM takes as long to say it as SQLite to write two hundred rows."""
        quote = self.connection.ops.quote_name
        names = [quote(name) for name in ("stream", "position", "generation", "changed_at")]
        changes = ", ".join(f"{name} = %s" for name in names[1:])
        conditions = " AND ".join(f"{name} = %s" for name in names[:3])
        return f"UPDATE {quote(HistoryCursor._meta.db_table)} SET {changes} WHERE {conditions}"


def writer_of(connection: Any) -> Writer:
    """Return the writer for a database: a raw one for SQLite and PostgreSQL with psycopg 3, else Django's own means."""
    if connection.vendor == "sqlite":
        return SQLiteWriter(connection)
    if connection.vendor == "postgresql" and getattr(connection.Database, "__name__", "") == "psycopg":
        return PostgreSQLWriter(connection)
    return GenericWriter(connection)


def is_of_content(error: BaseException) -> bool:
    """Tell whether it is the rows that the database refuses, not its own state."""
    if isinstance(error, DataError | IntegrityError | ValueError | OverflowError):
        return True
    cause = error.__cause__
    if str(getattr(cause, "sqlstate", "") or "")[:2] in _CONTENT_STATES:
        return True
    return bool(cause is not None and cause.args and cause.args[0] in _CONTENT_NUMBERS)


def _text(position: Position) -> str:
    return "{}-{}".format(*position)
