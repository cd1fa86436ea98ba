"""Moments and durations as databases take them in raw SQL: many, and cheap."""

from __future__ import annotations

from datetime import UTC, datetime, tzinfo

MOST_KNOWN = 10_000
_THOUSANDS = tuple(f"{number:03d}" for number in range(1000))
"""Looked up in half the time that formatting takes."""


class TimeTexts:
    """Texts of moments, `2026-11-25 00:48:00.123456`, in one zone; of the same second they have the beginning in common.

    `zone`: None for Django without USE_TZ, which means local time. `suffix` stands behind: the offset from UTC.
    """

    def __init__(self, zone: tzinfo | None = UTC, suffix: str = "") -> None:
        self._zone = zone
        self._suffix = suffix
        self._seconds: dict[int, str] = {}
        self._known: dict[float, str] = {}

    def text(self, at_s: float | None) -> str | None:
        """Return the text of epoch seconds, to the microsecond; Django leaves out a fraction of nought."""
        if at_s is None:
            return None
        second, microseconds = divmod(int(at_s * 1_000_000 + 0.5), 1_000_000)
        begin = self._seconds.get(second) or self._add(second)
        if not microseconds:
            return begin + self._suffix
        return f"{begin}.{_THOUSANDS[microseconds // 1000]}{_THOUSANDS[microseconds % 1000]}{self._suffix}"

    def known(self, at_s: float | None) -> str | None:
        """Return the same, of a moment that many have in common: when they were pushed."""
        if at_s is None:
            return None
        known = self._known.get(at_s)
        if known is None:
            if len(self._known) >= MOST_KNOWN:
                self._known.clear()
            known = self._known[at_s] = str(self.text(at_s))
        return known

    def _add(self, second: int) -> str:
        if len(self._seconds) >= MOST_KNOWN:
            self._seconds.clear()
        begin = datetime.fromtimestamp(second, self._zone).strftime("%Y-%m-%d %H:%M:%S")
        self._seconds[second] = begin
        return begin


def microseconds(duration_s: float | None) -> int | None:
    """Return a duration as databases without an interval hold it."""
    return None if duration_s is None else int(duration_s * 1_000_000 + 0.5)
