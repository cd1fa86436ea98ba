"""Which page of a list is asked for. Pure."""

from __future__ import annotations

from typing import NamedTuple

from django.http import QueryDict

ROWS = 100
"""Rows a page of a list."""


class Pages(NamedTuple):
    """One page of a list of `total` rows: its number from 1, and the links to its neighbours, '' if there is none."""

    total: int
    number: int
    of: int
    before: str
    after: str


def page_asked(query: QueryDict) -> int:
    """Return the number of the page that `?p=` asks for, from 1; 1 for what is no number."""
    asked = query.get("p", "")
    return max(int(asked), 1) if asked.isascii() and asked.isdigit() and len(asked) < 10 else 1


def pages(query: QueryDict, total: int) -> Pages:
    """Return the page asked for, at most the last one, with links that keep all else that was asked."""
    count = max(-(-total // ROWS), 1)
    number = min(page_asked(query), count)

    def link(other: int) -> str:
        if not 1 <= other <= count:
            return ""
        asked = query.copy()
        asked.pop("live", None)
        asked["p"] = str(other)
        return f"?{asked.urlencode()}"

    return Pages(total, number, count, link(number - 1), link(number + 1))
