"""PostgreSQL's way of writing many rows: COPY into a table of this session, and from there into the mirror."""

from __future__ import annotations

import re
from datetime import UTC
from functools import lru_cache
from typing import Any, NamedTuple

from django.conf import settings as django_settings

from django_sidekick.history.rows import (
    ATTEMPT_COLUMNS,
    COLUMNS,
    SUCCESS,
    Attempt,
    Batch,
    Facts,
    Row,
)
from django_sidekick.history.timetexts import TimeTexts
from django_sidekick.history.writers import move, upsert
from django_sidekick.models import JobAttempt, JobRecord

_TABLE = JobRecord._meta.db_table
_NEW = "sidekick_new"
_COLUMNS = ", ".join(COLUMNS)
_SOURCE = f"SELECT {_COLUMNS} FROM {_NEW}"
_ESCAPES = {ord("\\"): "\\\\", ord("\n"): "\\n", ord("\r"): "\\r", ord("\t"): "\\t"}

_ESCAPED = re.compile(r"[\\\n\r\t]")

MAKE_TABLE = f"CREATE TEMPORARY TABLE IF NOT EXISTS {_NEW} (LIKE {_TABLE}) ON COMMIT DELETE ROWS"
COPY = f"COPY {_NEW} ({_COLUMNS}) FROM STDIN"
COPY_ATTEMPTS = f"COPY {JobAttempt._meta.db_table} ({', '.join(ATTEMPT_COLUMNS)}) FROM STDIN"


_SUCCESS = (
    "\t".join(
        "%s" if name not in SUCCESS else "\\N" if SUCCESS[name] is None else str(SUCCESS[name]) for name in COLUMNS
    )
    + "\n"
)


class Lines(NamedTuple):
    """What COPY reads, one line a row."""

    rows: str
    moves: str
    attempts: str


class PostgreSQLWriter:
    """Through psycopg 3.

    The table is made where it is missing in each transaction, as a pooler may change the session.
    """

    def __init__(self, connection: Any) -> None:
        self._connection = connection
        zone, suffix = (UTC, "+00") if django_settings.USE_TZ else (None, "")
        self._times = TimeTexts(zone, suffix)

    def prepare(self, batch: Batch) -> Lines:
        """Return what COPY reads."""
        return Lines(
            "".join(map(self._success_line, batch.successes.values())) + "".join(map(self._line, batch.rows.values())),
            "".join(map(self._line, batch.moves.values())),
            "".join(map(self._attempt_line, batch.attempts)),
        )

    def write(self, lines: Lines) -> None:
        """Copy and upsert."""
        is_used_again = bool(self._connection.savepoint_ids or (lines.rows and lines.moves))
        with self._connection.cursor() as cursor:
            cursor.execute("SET LOCAL client_min_messages = warning")
            cursor.execute(MAKE_TABLE)
            for make, text in ((upsert, lines.rows), (move, lines.moves)):
                if text:
                    self._copy(cursor, COPY, text)
                    cursor.execute(make(_TABLE, COLUMNS, _SOURCE))
                    if is_used_again:  # in this transaction, whose COMMIT alone empties it
                        cursor.execute(f"DELETE FROM {_NEW}")
            if lines.attempts:
                self._copy(cursor, COPY_ATTEMPTS, lines.attempts)

    def _copy(self, cursor: Any, statement: str, lines: str) -> None:
        with self._connection.wrap_database_errors, cursor.cursor.copy(statement) as copy:
            copy.write(lines)

    def _success_line(self, facts: Facts) -> str:
        jid, job_class, queue, args, created_at, enqueued_at, started_at, finished_at, wait_s, run_s, worker = facts
        finished = self._times.text(finished_at)
        return _SUCCESS % (
            _escaped(jid), _name(job_class), _name(queue), _json(args), self._known(created_at),
            self._known(enqueued_at), self._times.text(started_at), finished, finished, _interval(wait_s),
            _interval(run_s), _name(worker),
        )  # fmt: skip

    def _line(self, row: Row) -> str:
        jid, job_class, queue, state, args, kwargs, tags = row[:7]
        started_at, finished_at, changed_at, wait_s, run_s, attempts = row[10:16]
        text, moment, known = _escaped, self._optional, self._known
        changed_at_text = self._times.text(changed_at)
        return (
            f"{text(jid)}\t{_name(job_class)}\t{_name(queue)}\t{state}\t{_json(args)}\t{_json(kwargs)}\t{_json(tags)}\t"
            f"{known(row[7])}\t{known(row[8])}\t{moment(row[9])}\t{moment(started_at)}\t"
            f"{changed_at_text if finished_at == changed_at else moment(finished_at)}\t{changed_at_text}\t"
            f"{_interval(wait_s)}\t{_interval(run_s)}\t{attempts}\t{_name(row[16])}\t{text(row[17])}\t{_name(row[18])}\n"
        )

    def _attempt_line(self, attempt: Attempt) -> str:
        jid, number, error_class, message, backtrace, started_at, finished_at, worker = attempt
        texts = (_escaped(text) for text in (error_class, message, backtrace))
        moments = f"{self._optional(started_at)}\t{self._optional(finished_at)}"
        return f"{_escaped(jid)}\t{number}\t" + "\t".join(texts) + f"\t{moments}\t{_escaped(worker)}\n"

    def _known(self, at_s: float | None) -> str:
        return self._times.known(at_s) or "\\N"

    def _optional(self, at_s: float | None) -> str:
        return self._times.text(at_s) or "\\N"


def _escaped(text: str) -> str:
    return text if text.isalnum() or not _ESCAPED.search(text) else text.translate(_ESCAPES)


_name = lru_cache(1000)(_escaped)
"""Of classes, queues and workers, which are few."""


def _json(text: str | None) -> str:
    """A JSON text has no line breaks and tabs of its own."""
    if text is None:
        return "\\N"
    return text.replace("\\", "\\\\") if "\\" in text else text


def _interval(duration_s: float | None) -> str:
    return "\\N" if duration_s is None else f"{round(duration_s * 1_000_000)} us"
