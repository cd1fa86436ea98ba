"""The world's subdivisions, as ISO 3166-2 names them and pycountry carries them."""

from __future__ import annotations

from functools import cache

import pycountry

from testproject.shop.models import Region


def total() -> int:
    """Return how many there are."""
    return len(_all())


def chunk(first: int, count: int) -> list[Region]:
    """Return unsaved rows, in the order of their codes; fewer than `count` at the end."""
    return [
        Region(code=region.code, name=region.name, kind=region.type)
        for region in _all()[first : first + count]
    ]


@cache
def _all() -> tuple[pycountry.db.Data, ...]:
    return tuple(sorted(pycountry.subdivisions, key=lambda region: str(region.code)))
