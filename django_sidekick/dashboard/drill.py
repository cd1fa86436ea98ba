"""The links of a date hierarchy, from the first and the last day alone: no row is read to know which days there are."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, timedelta
from typing import NamedTuple, Protocol

from django.utils.formats import date_format
from django.utils.text import capfirst
from django.utils.translation import gettext as _


class Link(NamedTuple):
    """One period; `link` is None for the one that is shown."""

    title: str
    link: str | None


class Drill(NamedTuple):
    """What admin/date_hierarchy.html shows."""

    show: bool
    back: Link | None = None
    choices: Sequence[Link] = ()


class LinkTo(Protocol):
    """Makes the link of a period."""

    def __call__(self, **parts: int) -> str:
        """Return the query string for year, month and day, as far as they are given."""


def drill(chosen: list[int], first: date | None, last: date | None, link: LinkTo) -> Drill:
    """Return the way up and down from a chosen year, month and day; from nowhere, to where the days differ."""
    if first is None or last is None:
        return Drill(show=False)
    is_chosen = bool(chosen)
    if not chosen and first.year == last.year:
        chosen = [first.year, first.month] if first.month == last.month else [first.year]
    if not chosen:
        years = range(first.year, last.year + 1)
        return Drill(True, None, [Link(str(year), link(year=year)) for year in years])
    if len(chosen) == 1:
        back = Link(_("All dates"), link()) if is_chosen else None
        return Drill(True, back, _months(chosen[0], first, last, link))
    year, month = chosen[:2]
    if len(chosen) == 2:
        back = Link(str(year), link(year=year)) if is_chosen else None
        return Drill(True, back, _days(year, month, first, last, link))
    day = date(*chosen)
    title = capfirst(date_format(day, "YEAR_MONTH_FORMAT"))
    back = Link(title, link(year=year, month=month))
    return Drill(True, back, [Link(capfirst(date_format(day, "MONTH_DAY_FORMAT")), None)])


def _months(year: int, first: date, last: date, link: LinkTo) -> list[Link]:
    months = [date(year, month, 1) for month in range(1, 13)]
    return [
        Link(capfirst(date_format(day, "YEAR_MONTH_FORMAT")), link(year=year, month=day.month))
        for day in months
        if first.replace(day=1) <= day <= last
    ]


def _days(year: int, month: int, first: date, last: date, link: LinkTo) -> list[Link]:
    start = date(year, month, 1)
    days = (start + timedelta(days=number) for number in range(31))
    return [
        Link(
            capfirst(date_format(day, "MONTH_DAY_FORMAT")),
            link(year=year, month=month, day=day.day),
        )
        for day in days
        if day.month == month and first <= day <= last
    ]
