"""How fast the mirror in SQL follows: rows committed a second, beside a bare upsert of the same rows.

The worker runs no-op jobs on `-p 1`; the clock stops when all their rows are committed. The floor then writes the same
rows, as they were read back, with nothing of ours: one upsert for 500 (SQLite, WAL) or COPY and an upsert (PostgreSQL),
into the same table with the same indexes, 5,000 in a transaction. At level full each job is written twice, by the floor
too: as enqueued first.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import sqlite3
import struct
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

from benchmarks.common import cpu_s, quantile, raw_job, redis_client, until, worker

Figures = dict[str, float]
BATCH = 5000
TABLE = "django_sidekick_jobrecord"
FLOCK = "hhqqi4x"


def sqlite_rows(count: int) -> Figures:
    return _rows(count, "sqlite")


def sqlite_full(count: int) -> Figures:
    return _rows(count, "sqlite", times=2)


def postgresql_rows(count: int) -> Figures:
    return _rows(count, "postgresql")


def postgresql_full(count: int) -> Figures:
    return _rows(count, "postgresql", times=2)


def sqlite_lock(count: int) -> Figures:
    """How long SQLite's only lock for writing is held, seen from outside, while the recorder catches up with a full stream."""
    from django_sidekick.broker.broker import get_broker
    from django_sidekick.broker.events import EventStream
    from django_sidekick.wire import codec, event
    from django_sidekick.wire.outcome import Delivery, Outcome

    client: Any = redis_client()
    client.flushall()
    count = count * 5 // 2  # of fewer transactions than a hundred the p99 is the one that was held up most
    texts = _jobs(count)
    for first in range(0, count, 250):
        some = [Outcome("done", Delivery(0, "default", text), codec.loads(text), time.time(), 0.0001) for text in texts[first : first + 250]]
        _append(client, event.encode("bench:1:abc", some))
    stream = EventStream(client, get_broker().keys)
    with _database("sqlite"), _lock_watch() as held, worker("-p", "1", "-c", "10", BENCH_HISTORY="finished"):
        until(stream.is_written, "the mirror to be written", 0.005)
    return {f"held_p{percent}_ms": quantile(held, percent / 100) * 1000 for percent in (50, 90, 99, 100)}


def _rows(count: int, vendor: str, times: int = 1) -> Figures:
    with _database(vendor):
        figures = _mirrored(count, vendor, times)
        floor = FLOORS[vendor](count, times)
    figures["of_floor"] = figures["rows_per_s"] / floor
    return {"floor_rows_per_s": floor, **figures}


@contextlib.contextmanager
def _database(vendor: str) -> Iterator[None]:
    """Make a database with the mirror's tables, and let this process and the worker use it."""
    from django.core.management import call_command
    from django.db import connections

    from testproject.database import database
    from tests.postgresql import PostgreSQL

    with tempfile.TemporaryDirectory(prefix="sidekick-bench-") as folder, contextlib.ExitStack() as stack:
        os.environ["BENCH_SQLITE"], os.environ["BENCH_DATABASE"] = str(Path(folder) / "db.sqlite3"), ""
        if vendor == "postgresql":
            cluster = PostgreSQL()
            stack.callback(cluster.close)
            os.environ["BENCH_DATABASE"] = cluster.url
        connections["default"].close()
        del connections["default"]
        connections.settings["default"] = database(os.environ["BENCH_DATABASE"], Path(os.environ["BENCH_SQLITE"]))
        connections.settings = connections.configure_settings(connections.settings)
        call_command("migrate", verbosity=0)
        yield
        connections["default"].close()


def _jobs(count: int) -> list[bytes]:
    """Texts with jids that grow, as ours do."""
    began = int(time.time() * 1000)
    return [raw_job(jid=f"{began + number // 100:012x}{number:012x}", created_at=began, enqueued_at=began) for number in range(count)]


def _sqlite_floor(count: int, times: int) -> float:
    link = sqlite3.connect(os.environ["BENCH_SQLITE"], isolation_level=None)
    link.execute("PRAGMA synchronous=NORMAL")
    rows = link.execute(f"SELECT * FROM {TABLE} ORDER BY changed_at").fetchall()
    values = ",".join([f"({','.join('?' * len(_columns()))})"] * 500)
    statement = f"INSERT INTO {TABLE} VALUES {values} {_on_conflict()}"
    passes = [rows] if times == 1 else [[_as_enqueued(row) for row in rows], rows]
    ready = [[list(chain(*some[at : at + 500])) for at in range(0, count, 500)] for some in passes]
    _empty()
    began = time.perf_counter()
    for statements in ready:
        for first in range(0, len(statements), BATCH // 500):
            link.execute("BEGIN IMMEDIATE")
            for parameters in statements[first : first + BATCH // 500]:
                link.execute(statement, parameters)
            link.execute("COMMIT")
    took = time.perf_counter() - began
    link.close()
    return count * times / took


def _postgresql_floor(count: int, times: int) -> float:
    from django.db import connection

    columns = ",".join(_columns())
    with connection.cursor() as cursor:
        raw = cursor.cursor
        with raw.copy(f"COPY (SELECT * FROM {TABLE} ORDER BY changed_at) TO STDOUT") as copy:
            lines = [bytes(line) for line in copy]
        passes = [lines] if times == 1 else [[b"\t".join(_as_enqueued(line.split(b"\t"))) for line in lines], lines]
        ready = [b"".join(some[first : first + BATCH]) for some in passes for first in range(0, count, BATCH)]
        _empty()
        raw.execute(f"CREATE TEMPORARY TABLE IF NOT EXISTS ready (LIKE {TABLE}) ON COMMIT DELETE ROWS")
        began = time.perf_counter()
        for text in ready:
            raw.execute("BEGIN")
            with raw.copy("COPY ready FROM STDIN") as copy:
                copy.write(text)
            raw.execute(f"INSERT INTO {TABLE} SELECT {columns} FROM ready {_on_conflict()}")
            raw.execute("COMMIT")
    return count * times / (time.perf_counter() - began)


FLOORS = {"sqlite": _sqlite_floor, "postgresql": _postgresql_floor}


def _columns() -> list[str]:
    """In the table's order."""
    from django_sidekick.models import JobRecord

    return [field.column for field in JobRecord._meta.local_fields]


def _on_conflict() -> str:
    return "ON CONFLICT (jid) DO UPDATE SET " + ",".join(f"{name}=excluded.{name}" for name in _columns()[1:])


def _as_enqueued(row: Sequence[Any]) -> list[Any]:
    """The row of the same job before it ran: other values in the columns that indexes hold."""
    changed, state, enqueued_at = map(_columns().index, ("changed_at", "state", "enqueued_at"))
    before = list(row)
    before[changed] = row[enqueued_at]
    before[state] = "enqueued" if isinstance(row[state], str) else b"enqueued"
    return before


def _empty() -> None:
    from django_sidekick.models import JobAttempt, JobRecord

    for model in (JobRecord, JobAttempt):
        model.objects.all()._raw_delete("default")


def _mirrored(count: int, vendor: str, times: int) -> Figures:
    from benchmarks.drain import in_flight
    from django_sidekick.broker.broker import get_broker
    from django_sidekick.broker.events import EventStream
    from django_sidekick.models import JobRecord
    from django_sidekick.wire import event

    client: Any = redis_client()
    client.flushall()
    texts = _jobs(count)
    for first in range(0, count, 1000):
        client.lpush("stock", *texts[first : first + 1000])
    stream = EventStream(client, get_broker().keys)
    with worker("-p", "1", "-c", "10", BENCH_HISTORY="finished"), _web_writer(vendor) as waits:
        until(lambda: client.exists("sk:recorder"), "the recorder")
        cpu, began = cpu_s(), time.perf_counter()
        if times == 2:
            _pushed(client, texts, event)
        client.rename("stock", "queue:default")
        until(lambda: client.exists("queue:default") == 0, "the queue to be empty", 0.01)
        until(lambda: not in_flight(client), "all to be settled", 0.01)
        done = time.perf_counter() - began
        until(stream.is_written, "the mirror to be written", 0.005)
        took = time.perf_counter() - began
    assert JobRecord.objects.filter(state="processed").count() == count, "rows are missing"
    figures = {"rows_per_s": count * times / took, "jobs_per_s": count / done, "behind_s": took - done, "own_cpu_s": cpu_s() - cpu}
    if waits:
        figures |= {"web_p99_ms": quantile(waits, 0.99) * 1000, "web_max_ms": max(waits) * 1000, "web_writes": len(waits)}
    return figures


def _pushed(client: Any, texts: list[bytes], event: Any) -> None:
    """Tell of the pushes as push.lua does at level full."""
    for first in range(0, len(texts), 1000):
        blob = event.encode_moves("enqueued", texts[first : first + 1000], time.time())
        _append(client, blob)


def _append(client: Any, blob: bytes) -> None:
    client.pipeline().xadd("sk:events", {"b": blob}).incrby("sk:events:bytes", len(blob)).execute()


@contextlib.contextmanager
def _lock_watch() -> Iterator[list[float]]:
    """Ask the kernel 5,000 times a second who holds the write-ahead log's lock for writing. Yield how long each held it.

    Asking takes no lock: nobody waits for it. Linux' struct flock.
    """
    held: list[float] = []
    stop = threading.Event()
    write_lock = struct.pack(FLOCK, fcntl.F_WRLCK, os.SEEK_SET, 120, 1, 0)

    def watch() -> None:
        since: float | None = None
        with Path(os.environ["BENCH_SQLITE"] + "-shm").open("rb+") as shared:
            while not stop.wait(0.0002):
                is_free = struct.unpack(FLOCK, fcntl.fcntl(shared, fcntl.F_GETLK, write_lock))[0] == fcntl.F_UNLCK
                if is_free and since is not None:
                    held.append(time.perf_counter() - since)
                    since = None
                elif not is_free and since is None:
                    since = time.perf_counter()

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield held
    finally:
        stop.set()
        thread.join()


@contextlib.contextmanager
def _web_writer(vendor: str) -> Iterator[list[float]]:
    """Write a row of another table every 10 ms, as web requests do. Yield how long each waited for SQLite's only lock."""
    waits: list[float] = []
    if vendor != "sqlite":
        yield waits
        return
    stop = threading.Event()

    def write() -> None:
        link = sqlite3.connect(os.environ["BENCH_SQLITE"], isolation_level=None, timeout=5.0)
        link.execute("PRAGMA synchronous=NORMAL")
        link.execute("CREATE TABLE IF NOT EXISTS web (number INTEGER)")
        while not stop.wait(0.01):
            began = time.perf_counter()
            link.execute("BEGIN IMMEDIATE")  # raises "database is locked" after 5 s: the measure then fails
            link.execute("INSERT INTO web VALUES (1)")
            link.execute("COMMIT")
            waits.append(time.perf_counter() - began)
        link.close()

    thread = threading.Thread(target=write)
    thread.start()
    try:
        yield waits
    finally:
        stop.set()
        thread.join()
