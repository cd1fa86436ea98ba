"""Words for what pages show: any value as safe text, arguments in one line, times and sizes as people say them.

Pure, and nothing here raises: whatever stands in Redis is shown as something. Escaping is the templates' part.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from django.utils import formats, numberformat, timezone
from django.utils.html import format_html, format_html_join
from django.utils.translation import gettext as _
from django.utils.translation import ngettext, pgettext

from django_sidekick.wire.payload import scrub

MOST_ARGUMENTS = 300
"""Characters of a job's arguments that a row shows."""

MOST_TEXT = 10_000
NOTHING = "–"
_DEEPEST = 12
_BYTE = 1024


def text(value: Any) -> str:
    """Return anything as text that can be encoded, cut to 10,000 characters; '' for None."""
    if value is None:
        return ""
    if isinstance(value, bytes):
        value = value.decode(errors="replace")
    return scrub((value if isinstance(value, str) else literal(value, MOST_TEXT))[:MOST_TEXT])


def literal(value: Any, most: int = MOST_ARGUMENTS) -> str:
    """Return a value as Python writes it, in at most `most` characters; the rest is `…`."""
    pieces: list[str] = []
    _write(value, pieces, most, 0)
    whole = scrub("".join(pieces))
    return whole if len(whole) <= most else whole[: most - 1] + "…"


def arguments(job: Any) -> str:
    """Return the arguments of a job as its call has them: `1, 'a', force=True`. Cut to 300 characters.

    `job` is a Shown or a JobRecord, a job hash, or a bare list of arguments. An Active Job's own arguments are for
    wire.shown to find.
    """
    args, kwargs = job, None
    if isinstance(job, Mapping):
        args, kwargs = job.get("args"), job.get("kwargs")
    elif hasattr(job, "args"):
        args, kwargs = job.args, job.kwargs
    if args is None and kwargs is None:
        return ""
    pieces: list[str] = []
    items = [("", item) for item in args] if isinstance(args, list | tuple) else [("", args)]
    if isinstance(kwargs, Mapping):
        items += [(f"{name}=", item) for name, item in kwargs.items()]
    for name, item in items:
        pieces.append(f"{', ' if pieces else ''}{name}{literal(item)}")
        if sum(map(len, pieces)) > MOST_ARGUMENTS:
            break
    whole = scrub("".join(pieces))
    return whole if len(whole) <= MOST_ARGUMENTS else whole[: MOST_ARGUMENTS - 1] + "…"


def moment(value: Any) -> datetime | None:
    """Return epoch seconds, or a datetime, as an aware datetime; None for what is no time of years 1 to 9999."""
    try:
        if isinstance(value, datetime):
            return value if timezone.is_aware(value) else timezone.make_aware(value)
        if isinstance(value, int | float) and not isinstance(value, bool):
            at = datetime.fromtimestamp(value, UTC)
            timezone.localtime(at)
            return at
    except (ValueError, OverflowError, OSError):
        pass
    return None


def exact(at: datetime) -> str:
    """Return a time to the second in the current zone, with the zone's name, in the current language."""
    try:
        local = timezone.localtime(at)
        return f"{formats.date_format(local, 'DATE_FORMAT')} {local:%H:%M:%S} {local.tzname() or ''}".strip()
    except (ValueError, OverflowError):
        return at.isoformat(sep=" ", timespec="seconds")


def class_element(name: Any) -> str:
    """Return the name of a class, Python's or Ruby's, its module quiet; it may break after each dot and colon."""
    whole = text(name)
    *modules, last = re.split(r"(?<=[.:])(?![.:])", whole, maxsplit=20)
    if not modules:
        return last
    quiet = format_html_join("", "{}<wbr>", ((part,) for part in modules))
    return format_html('<span title="{}"><span class="sk-module">{}</span>{}</span>', whole, quiet, last)


def time_element(value: Any) -> str:
    """Return epoch seconds or a datetime as <time>, relative, the exact one beside it; what is no time as its text."""
    at = moment(value)
    if at is None:
        return text(value) or NOTHING
    return _element(at, relative(at, datetime.now(UTC)), exact(at))


def clock_element(value: Any) -> str:
    """Return a time as time_element() does: the exact one, the relative one beside it."""
    at = moment(value)
    if at is None:
        return text(value) or NOTHING
    return _element(at, exact(at), relative(at, datetime.now(UTC)))


def _element(at: datetime, words: str, title: str) -> str:
    iso = at.isoformat(timespec="milliseconds")
    return format_html('<time datetime="{}" title="{}">{}</time>', iso, title, words)


def relative(at: datetime, now: datetime) -> str:
    """Return how far a time is from now, in its largest unit: `4 minutes ago`, `in 3 days`, `now`."""
    seconds = (at - now).total_seconds()
    span = abs(seconds)
    if span < 1:
        return pgettext("time", "now")
    if seconds > 0:
        return _in(span)
    return _ago(span)


def duration(seconds: Any) -> str:
    """Return a length of time in at most two units: `12 ms`, `2.3 s`, `1 h 33 min`; `–` for what is none."""
    if isinstance(seconds, bool) or not isinstance(seconds, int | float) or not math.isfinite(seconds):
        return NOTHING
    if seconds < 0 or seconds >= 1e11:
        return NOTHING
    if seconds < 1:
        return _("%(count)s ms") % {"count": _number(seconds * 1000, 0 if seconds >= 0.01 or not seconds else 1)}
    if seconds < 60:
        return _("%(count)s s") % {"count": _number(seconds, 1 if seconds < 10 else 0)}
    minutes = int(seconds) // 60
    if minutes < 60:
        return _("%(minutes)s min %(seconds)s s") % {"minutes": minutes, "seconds": int(seconds) % 60}
    if minutes < 24 * 60:
        return _("%(hours)s h %(minutes)s min") % {"hours": minutes // 60, "minutes": minutes % 60}
    days = _number(minutes // (24 * 60), 0)
    return _("%(days)s d %(hours)s h") % {"days": days, "hours": minutes // 60 % 24}


def size(count: Any) -> str:
    """Return a number of bytes with its unit, to a tenth; `–` for what is none."""
    if isinstance(count, bool) or not isinstance(count, int | float) or not 0 <= count < 1e24:
        return NOTHING
    amount, unit = float(count), "B"
    for larger in ("KiB", "MiB", "GiB", "TiB"):
        if amount < _BYTE:
            break
        amount, unit = amount / _BYTE, larger
    return f"{_number(amount, 0 if unit == 'B' else 1)} {unit}"


def figure(count: int) -> str:
    """Return a whole number as the language groups it: `100,000`."""
    return _number(count, 0)


def _number(value: float, decimals: int) -> str:
    """Grouped in every language: Django's formats of some, Vietnamese's too, do not say by how many digits."""
    decimal, grouping, thousand = map(
        formats.get_format, ("DECIMAL_SEPARATOR", "NUMBER_GROUPING", "THOUSAND_SEPARATOR")
    )
    return numberformat.format(round(value, decimals), decimal, decimals, grouping or 3, thousand, force_grouping=True)


def _in(span: float) -> str:
    count = _count(span)
    if span < 60:
        return ngettext("in %(count)d second", "in %(count)d seconds", count) % {"count": count}
    if span < 3600:
        return ngettext("in %(count)d minute", "in %(count)d minutes", count) % {"count": count}
    if span < 86_400:
        return ngettext("in %(count)d hour", "in %(count)d hours", count) % {"count": count}
    return ngettext("in %(count)d day", "in %(count)d days", count) % {"count": count}


def _ago(span: float) -> str:
    count = _count(span)
    if span < 60:
        return ngettext("%(count)d second ago", "%(count)d seconds ago", count) % {"count": count}
    if span < 3600:
        return ngettext("%(count)d minute ago", "%(count)d minutes ago", count) % {"count": count}
    if span < 86_400:
        return ngettext("%(count)d hour ago", "%(count)d hours ago", count) % {"count": count}
    return ngettext("%(count)d day ago", "%(count)d days ago", count) % {"count": count}


def _count(span: float) -> int:
    """Whole units of the largest unit that fits."""
    return int(span // (1 if span < 60 else 60 if span < 3600 else 3600 if span < 86_400 else 86_400))


def _write(value: Any, pieces: list[str], most: int, depth: int) -> None:
    """Write until `most` characters stand there: neither a long value nor a deep one costs more."""
    if sum(map(len, pieces)) > most:
        return
    if depth > _DEEPEST:
        pieces.append("…")
    elif isinstance(value, Mapping):
        _write_items(value, "{}", pieces, most, depth)
    elif isinstance(value, list | tuple):
        _write_items(value, "[]", pieces, most, depth)
    elif isinstance(value, str | bytes):
        pieces.append(repr(value[: most + 1]))
    elif type(value) is int and value.bit_length() > 2_000:
        pieces.append(hex(value)[: most + 1])  # no time is spent on converting what is cut off
    else:
        pieces.append(repr(value)[: most + 1])


def _write_items(value: Any, brackets: str, pieces: list[str], most: int, depth: int) -> None:
    pieces.append(brackets[0])
    for index, item in enumerate(value):
        if index:
            pieces.append(", ")
        if sum(map(len, pieces)) > most:
            break
        if isinstance(value, Mapping):
            _write(item, pieces, most, depth + 1)
            pieces.append(": ")
            item = value[item]
        _write(item, pieces, most, depth + 1)
    pieces.append(brackets[1])


def partly_read(said: str, read: int, total: int) -> str:
    """Return what is said of a list that was read in part, both numbers put in; '' if all of it was read."""
    return said % {"read": figure(read), "total": figure(total)} if read < total else ""
