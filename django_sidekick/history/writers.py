"""Writing a batch of rows inside an open transaction: how, each kind of database says for itself."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from functools import cache
from itertools import chain, islice
from sqlite3 import SQLITE_LIMIT_VARIABLE_NUMBER
from typing import Any, Protocol

from django.conf import settings as django_settings
from django.utils import timezone

from django_sidekick.history.rows import (
    ATTEMPT_COLUMNS,
    COLUMNS,
    KEPT_COLUMNS,
    MOVED_COLUMNS,
    SUCCESS,
    Attempt,
    Batch,
    Facts,
    Row,
    apply_move,
    row_of,
)
from django_sidekick.history.timetexts import TimeTexts, microseconds
from django_sidekick.models import JobAttempt, JobRecord

CHUNKS = (1500, 500, 50, 5, 1)
"""Numbers of rows that one statement writes: few different texts, and long ones let other threads run meanwhile."""

GENERIC_CHUNK = 500


class Writer(Protocol):
    """Writes rows by one connection of Django's. What cannot be written raises Django's database errors."""

    def prepare(self, batch: Batch) -> Any:
        """Return the batch in the database's own words. Asks nothing of the connection: another thread may do it."""

    def write(self, prepared: Any) -> None:
        """Write rows, moves and attempts, inside the transaction that is open."""


def upsert(table: str, columns: Sequence[str], source: str) -> str:
    """Return the statement that writes whole rows of `source`: over those that are there, but for what they keep."""
    taken = [
        f"{name}=COALESCE(excluded.{name}, {table}.{name})" if name in KEPT_COLUMNS else f"{name}=excluded.{name}"
        for name in columns[1:]
    ]
    return f"{_insert(table, columns, source)} ON CONFLICT (jid) DO UPDATE SET {', '.join(taken)}"


def move(table: str, columns: Sequence[str], source: str) -> str:
    """Return the statement for moves: new rows, or a new place for rows that are not newer."""
    taken = [
        f"{name}=COALESCE(excluded.{name}, {table}.{name})" if name in KEPT_COLUMNS else f"{name}=excluded.{name}"
        for name in MOVED_COLUMNS
    ]
    not_older = f"excluded.changed_at >= {table}.changed_at"
    return f"{_insert(table, columns, source)} ON CONFLICT (jid) DO UPDATE SET {', '.join(taken)} WHERE {not_older}"


def _insert(table: str, columns: Sequence[str], source: str) -> str:
    return f"INSERT INTO {table} ({', '.join(columns)}) {source}"


class SQLiteWriter:
    """Many rows a statement: a fifth of what bulk_create() costs, and so the lock is held a fifth of the time."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection
        connection.ensure_connection()
        most = connection.connection.getlimit(SQLITE_LIMIT_VARIABLE_NUMBER)
        self._chunks = [rows for rows in CHUNKS if rows == 1 or rows * len(COLUMNS) <= most]
        self._times = TimeTexts(connection.timezone if django_settings.USE_TZ else None)

    def prepare(self, batch: Batch) -> list[tuple[str, list[Any]]]:
        """Return statements with their parameters."""
        return [
            *self._statements(_upserts_of_successes, batch.successes.values(), self._success),
            *self._statements(_upserts, batch.rows.values(), self._row),
            *self._statements(_moves, batch.moves.values(), self._row),
            *self._statements(_attempts, batch.attempts, self._attempt),
        ]

    def write(self, prepared: list[tuple[str, list[Any]]]) -> None:
        """Run them."""
        with self._connection.wrap_database_errors:
            execute = self._connection.connection.execute
            for statement, parameters in prepared:
                execute(statement, parameters)

    def _statements(
        self, make: Callable[[int], str], rows: Collection[Any], words: Callable[[Any], Sequence[Any]]
    ) -> Iterator[tuple[str, list[Any]]]:
        """Yield statements that write the rows, and their parameters: those of `make` for a number of rows."""
        left, source = len(rows), map(words, rows)
        for size in self._chunks:
            while left >= size:
                yield make(size), list(chain.from_iterable(islice(source, size)))
                left -= size

    def _success(self, facts: Facts) -> tuple[Any, ...]:
        jid, job_class, queue, args, created_at, enqueued_at, started_at, finished_at, wait_s, run_s, worker = facts
        text, known = self._times.text, self._times.known
        finished = text(finished_at)
        return (
            jid, job_class, queue, args, known(created_at), known(enqueued_at), text(started_at), finished, finished,
            microseconds(wait_s), microseconds(run_s), worker,
        )  # fmt: skip

    def _row(self, row: Row) -> Row:
        text, known = self._times.text, self._times.known
        finished_at, changed_at = row[11], text(row[12])
        return [
            *row[:7], known(row[7]), known(row[8]), text(row[9]), text(row[10]),
            changed_at if finished_at == row[12] else text(finished_at), changed_at,
            microseconds(row[13]), microseconds(row[14]), *row[15:],
        ]  # fmt: skip

    def _attempt(self, attempt: Attempt) -> Attempt:
        text = self._times.text
        return (*attempt[:5], text(attempt[5]), text(attempt[6]), attempt[7])


class GenericWriter:
    """Django's own means: what is there is read, changed here, and written again.

    For MariaDB, MySQL, Oracle and others.
    No two recorders write at a time: each has changed the cursor's row in its transaction first.
    """

    def __init__(self, connection: Any) -> None:
        self._connection = connection
        self._alias = connection.alias

    def prepare(self, batch: Batch) -> Batch:
        """Return it as it is: what is there must be read first."""
        return batch

    def write(self, batch: Batch) -> None:
        """Read, change, and write."""
        batch.rows.update((jid, row_of(facts)) for jid, facts in batch.successes.items())
        rows = {**batch.rows, **batch.moves}
        there = self._there(list(rows))
        for jid, row in batch.rows.items():
            if before := there.get(jid):
                for name in KEPT_COLUMNS:
                    column = COLUMNS.index(name)
                    row[column] = before[column] if row[column] is None else row[column]
        for jid, row in batch.moves.items():
            if before := there.get(jid):
                apply_move(before, row)
                rows[jid] = before
        records = [_record(row) for row in rows.values()]
        objects = JobRecord.objects.using(self._alias)
        if self._connection.features.supports_update_conflicts:
            unique = ["jid"] if self._connection.features.supports_update_conflicts_with_target else None
            objects.bulk_create(
                records, batch_size=GENERIC_CHUNK, update_conflicts=True,
                update_fields=COLUMNS[1:], unique_fields=unique,
            )  # fmt: skip
        else:
            new = objects.filter(pk__in=list(there))
            new._raw_delete(self._alias)  # attempts stay: they are of the same job
            objects.bulk_create(records, batch_size=GENERIC_CHUNK)
        attempts = [_attempt(attempt) for attempt in batch.attempts]
        JobAttempt.objects.using(self._alias).bulk_create(attempts, batch_size=GENERIC_CHUNK)

    def _there(self, jids: list[str]) -> dict[str, Row]:
        found: dict[str, Row] = {}
        for first in range(0, len(jids), GENERIC_CHUNK):
            rows = JobRecord.objects.using(self._alias).filter(pk__in=jids[first : first + GENERIC_CHUNK])
            for values in rows.order_by().values_list(*COLUMNS):
                found[values[0]] = [_neutral(value) for value in values]
        for row in found.values():
            for column in (4, 5, 6):
                row[column] = None if row[column] is None else json.dumps(row[column])
        return found


def _record(row: Row) -> JobRecord:
    values = dict(zip(COLUMNS, row, strict=True))
    for name in ("args", "kwargs", "tags"):
        values[name] = None if values[name] is None else json.loads(values[name])
    for name in COLUMNS:
        if name.endswith("_at"):
            values[name] = _moment(values[name])
        elif name.endswith("_time"):
            values[name] = None if values[name] is None else timedelta(seconds=values[name])
    return JobRecord(**values)


def _attempt(attempt: Attempt) -> JobAttempt:
    values = dict(zip(ATTEMPT_COLUMNS, attempt, strict=True))
    values["started_at"], values["finished_at"] = _moment(values["started_at"]), _moment(values["finished_at"])
    return JobAttempt(**values)


def _moment(at_s: float | None) -> datetime | None:
    if at_s is None:
        return None
    moment = datetime.fromtimestamp(at_s, UTC)
    return moment if django_settings.USE_TZ else timezone.make_naive(moment)


def _neutral(value: Any) -> Any:
    if isinstance(value, datetime):
        return (value if value.tzinfo else timezone.make_aware(value)).timestamp()
    return value.total_seconds() if isinstance(value, timedelta) else value


@cache
def _upserts(rows: int) -> str:
    return upsert(JobRecord._meta.db_table, COLUMNS, _values(["?"] * len(COLUMNS), rows))


@cache
def _upserts_of_successes(rows: int) -> str:
    values = [_literal(SUCCESS[name]) if name in SUCCESS else "?" for name in COLUMNS]
    return upsert(JobRecord._meta.db_table, COLUMNS, _values(values, rows))


@cache
def _moves(rows: int) -> str:
    return move(JobRecord._meta.db_table, COLUMNS, _values(["?"] * len(COLUMNS), rows))


@cache
def _attempts(rows: int) -> str:
    return _insert(JobAttempt._meta.db_table, ATTEMPT_COLUMNS, _values(["?"] * len(ATTEMPT_COLUMNS), rows))


def _values(values: Sequence[str], rows: int) -> str:
    return "VALUES " + ",".join([f"({','.join(values)})"] * rows)


def _literal(value: str | int | None) -> str:
    return "NULL" if value is None else f"'{value}'" if isinstance(value, str) else str(value)
