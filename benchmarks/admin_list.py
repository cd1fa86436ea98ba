"""How fast the list of jobs opens in the admin: a history of 5,000,000 rows beside one of 5,000.

python -m benchmarks.admin_list [--rows N] [--rounds N] [--postgresql URL]

Two databases with the same kind of rows, filled by INSERT … SELECT, each page opened through Django's client in
alternating rounds, warm. A figure is the median in ms; the ratio is the median of the rounds' ratios.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "benchmarks.settings_records")
SMALL = 5_000
PAGES = {
    "the list": "",
    "page 50": "?p=50",
    "dead ones": "?state=dead",
    "one class": "?class=shop.jobs.Job07",
    "one error": "?error=Error3",
    "one queue": "?queue=queue4",
    "a class' dead": "?class=shop.jobs.Job07&state=dead",
    "the last 7 days": "?time=week",
    "by run time": "?o=-8",
    "a jid": "?q=0000000003e9",
    "a word in the arguments": "?q=word4711",
    "a word that is nowhere": "?q=nowhere+at+all",
}
ROW = """
    INSERT INTO django_sidekick_jobrecord (jid, job_class, queue, state, args, kwargs, tags, created_at, enqueued_at,
        started_at, finished_at, changed_at, wait_time, run_time, attempts, error_class, error_message, worker)
"""
SQLITE = ROW + """
    WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {rows})
    SELECT printf('%012x%012x', i, i), printf('shop.jobs.Job%02d', i % 20), printf('queue%d', i % 5),
        CASE WHEN i % 50 = 0 THEN 'retry' WHEN i % 50 = 1 THEN 'dead' ELSE 'processed' END,
        '["word' || i || '", ' || i || ']', '{{}}', '[]', {at}, {at}, {at}, {at}, {at}, 5000 + i % 1000, 10000 + i % 77777,
        1, CASE WHEN i % 50 < 2 THEN 'Error' || (i % 7) ELSE '' END,
        CASE WHEN i % 50 < 2 THEN 'it failed with ' || i ELSE '' END, 'host:1:abc'
    FROM n
"""
SQLITE_AT = "strftime('%Y-%m-%d %H:%M:%f', julianday('now') - 30.0 * ({rows} - i) / {rows})"
POSTGRESQL = ROW + """
    SELECT lpad(to_hex(i), 12, '0') || lpad(to_hex(i), 12, '0'), 'shop.jobs.Job' || lpad((i % 20)::text, 2, '0'),
        'queue' || i % 5, CASE WHEN i % 50 = 0 THEN 'retry' WHEN i % 50 = 1 THEN 'dead' ELSE 'processed' END,
        jsonb_build_array('word' || i, i), '{{}}', '[]', {at}, {at}, {at}, {at}, {at},
        (5000 + i % 1000) * interval '1 microsecond', (10000 + i % 77777) * interval '1 microsecond', 1,
        CASE WHEN i % 50 < 2 THEN 'Error' || (i % 7) ELSE '' END,
        CASE WHEN i % 50 < 2 THEN 'it failed with ' || i ELSE '' END, 'host:1:abc'
    FROM generate_series(1, {rows}) AS i
"""
POSTGRESQL_AT = "now() - interval '30 days' * (({rows} - i)::float / {rows})"


def fill(alias: str, rows: int) -> None:
    """Make the tables of one database and lay so many rows into them, oldest first."""
    from django.core.management import call_command
    from django.db import connections

    call_command("migrate", database=alias, verbosity=0)
    connection = connections[alias]
    is_sqlite = connection.vendor == "sqlite"
    at = (SQLITE_AT if is_sqlite else POSTGRESQL_AT).format(rows=rows)
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1 FROM django_sidekick_jobrecord LIMIT 1")
        if cursor.fetchone() is None:
            cursor.execute((SQLITE if is_sqlite else POSTGRESQL).format(rows=rows, at=at))
            if not is_sqlite:
                cursor.execute("VACUUM ANALYZE django_sidekick_jobrecord")


def bytes_of(alias: str) -> int:
    """Return what the table of jobs takes with its indexes; on SQLite the whole file, which holds little else."""
    from django.db import connections

    is_sqlite = connections[alias].vendor == "sqlite"
    size = "SELECT page_count * page_size FROM pragma_page_count, pragma_page_size"
    with connections[alias].cursor() as cursor:
        cursor.execute(size if is_sqlite else "SELECT pg_total_relation_size('django_sidekick_jobrecord')")
        return int(cursor.fetchone()[0])


def measure(rounds: int, pages: dict[str, str]) -> dict[str, list[tuple[float, float]]]:
    """Return the ms of each page over the small and the large history, round by round."""
    from django.contrib.auth.models import User
    from django.test import Client

    boss = User.objects.filter(is_superuser=True).first() or User.objects.create_superuser("boss")
    client = Client()
    client.force_login(boss)
    times: dict[str, list[tuple[float, float]]] = {page: [] for page in pages}
    for _ in range(rounds + 1):
        for page, query in pages.items():
            times[page].append((opened(client, "small", query), opened(client, "large", query)))
    return {page: rows[1:] for page, rows in times.items()}


def opened(client: Any, alias: str, query: str) -> float:
    from django.conf import settings
    from django.test import override_settings

    with override_settings(SIDEKICK={**settings.SIDEKICK, "HISTORY_DATABASE": alias}):
        began = time.perf_counter()
        answer = client.get(f"/admin/django_sidekick/jobrecord/{query}")
        took = time.perf_counter() - began
    assert answer.status_code == 200, answer.status_code
    return took * 1000


def main() -> None:
    """Fill, open, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=5_000_000)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--postgresql", default="", help="a server on which databases `small` and `large` exist")
    parser.add_argument("--dir", default=tempfile.mkdtemp(prefix="sidekick-records-"))
    given = parser.parse_args()
    os.environ["BENCH_RECORDS_DIR"], os.environ["BENCH_RECORDS_URL"] = given.dir, given.postgresql
    Path(given.dir).mkdir(exist_ok=True)
    import django

    django.setup()
    from django.core.management import call_command

    call_command("migrate", verbosity=0)
    for alias, rows in (("small", SMALL), ("large", given.rows)):
        began = time.perf_counter()
        fill(alias, rows)
        took_s, size = time.perf_counter() - began, bytes_of(alias) // rows
        print(f"{alias}: {rows:,} rows of {size} bytes ({took_s:.0f} s)", file=sys.stderr)
    print(f"| page | {SMALL:,} rows, ms | {given.rows:,} rows, ms | ratio |\n|---|---|---|---|")
    for page, rows in measure(given.rounds, PAGES).items():
        small, large = (statistics.median(column) for column in zip(*rows, strict=True))
        ratio = statistics.median(after / before for before, after in rows)
        print(f"| {page} | {small:.0f} | {large:.0f} | {ratio:.2f} |")


if __name__ == "__main__":
    main()
