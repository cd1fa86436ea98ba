"""What can be said of a history of any length without reading all of it: bounded counts, windows, the values of a column."""

from __future__ import annotations

import math
from functools import cached_property
from typing import Any, TypeAlias

from django.core.paginator import Paginator
from django.db import connections
from django.db.models import F, QuerySet, Value
from django.db.models.functions import Coalesce
from django.utils.translation import ngettext

from django_sidekick.dashboard.show import figure
from django_sidekick.models import JobRecord

MOST_COUNTED = 10_000
WINDOW = 100_000
"""The newest rows that are looked through for what no index finds."""

MOST_VALUES = 200
NEWEST = 1_000
"""The newest rows whose values a filter offers for a column without an index."""

Records: TypeAlias = "QuerySet[JobRecord]"

_WALK = """
    WITH RECURSIVE found(value) AS (
        SELECT MIN({column}) FROM {table} WHERE {where}
        UNION ALL
        SELECT (SELECT MIN({column}) FROM {table} WHERE {where} AND {column} > found.value)
        FROM found WHERE found.value IS NOT NULL
    )
    SELECT value FROM found WHERE value IS NOT NULL LIMIT {most}
"""
"""From each value to the next one by the index: as many steps as there are values, not rows."""


class FoundOnce:
    """Rows that are costly to find: one walk counts them and knows their order, a page is read by its jids."""

    ordered = True

    def __init__(self, rows: Records) -> None:
        self._rows = rows

    @cached_property
    def jids(self) -> list[str]:
        """Return the jids of the first 10,001 rows, in their order."""
        return list(self._rows.values_list("jid", flat=True)[: MOST_COUNTED + 1])

    def __len__(self) -> int:
        return len(self.jids)

    def __getitem__(self, part: slice) -> list[JobRecord]:
        jids = self.jids[part]
        rows = JobRecord.objects.using(self._rows.db).in_bulk(jids)
        return [rows[jid] for jid in jids if jid in rows]


class BoundedPaginator(Paginator):  # type: ignore[type-arg] # no generic at run time
    """Count no further than 10,000 rows, and offer no page beyond them: the filters lead further."""

    @cached_property
    def counted(self) -> int:
        """Return the number of rows; 10,001 for more than 10,000."""
        rows: Any = self.object_list
        if isinstance(rows, FoundOnce):
            return len(rows)
        return int(rows.order_by().values("changed_at")[: MOST_COUNTED + 1].count())

    @cached_property
    def count(self) -> int:
        """Return the number of rows that pages are offered for."""
        return min(self.counted, MOST_COUNTED)

    @property
    def is_more(self) -> bool:
        """Tell whether there are rows beyond the last page."""
        return self.counted > MOST_COUNTED


def count_text(paginator: BoundedPaginator, alias: str, *, is_whole: bool) -> str:
    """Return how many rows there are, as exactly as it is known; `is_whole`: nothing is filtered."""
    if not paginator.is_more:
        said = ngettext("%(number)s job", "%(number)s jobs", paginator.count)
        return said % {"number": figure(paginator.count)}
    about = estimate(alias) if is_whole else None
    if about and about > MOST_COUNTED:
        digits = 10 ** max(int(math.log10(about)) - 1, 0)
        about = round(about / digits) * digits
        said = ngettext("about %(number)s job", "about %(number)s jobs", about)
        return said % {"number": figure(about)}
    said = ngettext("more than %(number)s job", "more than %(number)s jobs", MOST_COUNTED)
    return said % {"number": figure(MOST_COUNTED)}


def estimate(alias: str) -> int | None:
    """Return what PostgreSQL's last ANALYZE or VACUUM has counted; None if nobody knows."""
    connection = connections[alias]
    if connection.vendor != "postgresql":
        return None
    table = connection.ops.quote_name(JobRecord._meta.db_table)
    with connection.cursor() as cursor:
        cursor.execute("SELECT reltuples::bigint FROM pg_class WHERE oid = %s::regclass", [table])
        row = cursor.fetchone()
    return int(row[0]) if row and row[0] >= 0 else None


def window(rows: Records, most: int = WINDOW) -> tuple[Records, bool]:
    """Return the newest `most` of rows that an index finds, and whether that cut anything off.

    Rows of the same moment as the last one stay in.
    """
    last = rows.order_by("-changed_at").values_list("changed_at", flat=True)[most : most + 1].first()
    return (rows, False) if last is None else (rows.filter(changed_at__gte=last), True)


def leading(rows: Records, column: str, value: str) -> Records:
    """Return the rows with this value by the column's own index; the error's is a partial one."""
    rows = rows.filter(**{column: value})
    return rows.exclude(error_class="") if column == "error_class" else rows


def by_time(rows: Records, column: str, value: str) -> Records:
    """Return what leading() does of rows that are ordered by time, in an order that no other index than the column's has.

    PostgreSQL leaves out of an order what must be equal, and takes the index of time where a value seems common: of one
    that no newer job has, it passes by all of these. What lies in a range may differ, for all it knows.
    """
    sign = "-" if rows.query.order_by[0] == "-changed_at" else ""
    rows = rows.filter(**{f"{column}__gte": value, f"{column}__lte": value})
    rows = rows.exclude(error_class="") if column == "error_class" else rows
    return rows.order_by(f"{sign}{column}", *rows.query.order_by)


def beside(rows: Records, column: str, value: str) -> Records:
    """Return the rows with this value, looked at one by one: no other index may lure the planner out of the window."""
    return rows.alias(**{f"{column}_seen": Coalesce(F(column), Value(""))}).filter(**{f"{column}_seen": value})


def is_indexed(column: str) -> bool:
    """Tell whether a filter by this column, within a time or not, is found by an index."""
    return column in ("error_class", "state", "job_class")


def values_of(column: str, alias: str) -> list[str]:
    """Return the values of a column, at most 200: by its index, or else those of the newest 1,000 rows."""
    connection, rows = connections[alias], JobRecord.objects.using(alias)
    if not is_indexed(column):
        newest = rows.order_by("-changed_at")
        found = set(newest.values_list(column, flat=True)[:NEWEST])
        return sorted(value for value in found if value)[:MOST_VALUES]
    # MariaDB steps by itself; the walk would read all of its index.
    if connection.vendor not in ("sqlite", "postgresql"):
        known = rows.exclude(**{column: ""}).order_by(column).values_list(column, flat=True)
        return list(known.distinct()[:MOST_VALUES])
    quote = connection.ops.quote_name
    name = quote(column)
    where = f"NOT ({name} = '')"
    words = {"column": name, "table": quote(JobRecord._meta.db_table), "where": where}
    with connection.cursor() as cursor:
        cursor.execute(_WALK.format(**words, most=MOST_VALUES))
        return [value for (value,) in cursor.fetchall()]
