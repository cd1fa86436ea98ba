"""Active Job's wrapper around a job that Ruby has pushed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

from django_sidekick.exceptions import DeserializationError

WRAPPERS = frozenset(
    {
        "Sidekiq::ActiveJob::Wrapper",
        "ActiveJob::QueueAdapters::SidekiqAdapter::JobWrapper",
    }
)
_KEYWORDS = "_aj_ruby2_keywords"
_GLOBAL_ID = "_aj_globalid"
_SERIALIZED = "_aj_serialized"
_SERIALIZERS = "ActiveJob::Serializers::"
_EXACT_PARTS = frozenset({"seconds", "minutes", "hours", "days", "weeks"})
"""Parts of a duration that are always as long: a month is not."""


def is_wrapped(payload: Mapping[str, Any]) -> bool:
    """Tell whether the payload is Active Job's wrapper with its job inside."""
    args = payload.get("args")
    return payload["class"] in WRAPPERS and isinstance(args, list) and len(args) == 1 and isinstance(args[0], dict)


def job_name(payload: Mapping[str, Any]) -> str:
    """Return a job's name; inside Active Job's wrapper that of the job, as `wrapped` or the wrapped hash says.

    Never raise. The payload has a text as its `class`.
    """
    named = [payload.get("wrapped")]
    if is_wrapped(payload):
        named.append(payload["args"][0].get("job_class"))
    return next((name for name in named if isinstance(name, str) and name), str(payload["class"]))


def unwrap(payload: dict[str, Any]) -> tuple[str, list[Any], dict[str, Any]]:
    """Return class name, positional and keyword arguments of the job inside the wrapper.

    A last hash that Ruby marked as keywords becomes keyword arguments; `_aj_` keys are taken out at every
    depth. Symbols become texts, and times, dates, decimals and durations what they are in Python; a duration of
    months or years, a range, a module, and what others have serialized stay objects. Raise DeserializationError
    for a value that cannot be read, and for a GlobalID: only Ruby can find its record.
    """
    arguments = payload["args"][0].get("arguments")
    arguments = list(arguments) if isinstance(arguments, list) else []
    keywords: dict[str, Any] = {}
    if arguments and isinstance(arguments[-1], dict) and _KEYWORDS in arguments[-1]:
        keywords = _plain(arguments.pop())
    return job_name(payload), [_plain(value) for value in arguments], keywords


def _plain(value: Any) -> Any:
    if isinstance(value, list):
        return [_plain(item) for item in value]
    if not isinstance(value, dict):
        return value
    if _GLOBAL_ID in value:
        raise DeserializationError(
            f"An argument is the record {value[_GLOBAL_ID]!r:.200} of a Ruby application, which cannot be read here: "
            "let the job take its id."
        )
    fields = {key: _plain(item) for key, item in value.items() if not key.startswith("_aj_")}
    serializer = str(value.get(_SERIALIZED, ""))
    read = _READERS.get(serializer)
    if read is None:
        return fields
    try:
        return read(fields)
    except (LookupError, TypeError, ValueError, ArithmeticError) as error:
        raise DeserializationError(
            f"An argument of {serializer} cannot be read here: {fields!r:.200} ({error})"
        ) from error


def _symbol(fields: Mapping[str, Any]) -> Any:
    return fields["value"]


def _time(fields: Mapping[str, Any]) -> datetime:
    """Ruby writes nanoseconds, of which Python keeps the microseconds, and newer Rails the name of a zone."""
    at = datetime.fromisoformat(fields["value"])
    if at.tzinfo is None:
        raise ValueError("it has no offset")
    try:
        return at.astimezone(ZoneInfo(fields["time_zone"]))
    except (KeyError, TypeError, ValueError, OverflowError, OSError):  # none, or none that this machine knows
        return at


def _date(fields: Mapping[str, Any]) -> date:
    return date.fromisoformat(fields["value"])


def _decimal(fields: Mapping[str, Any]) -> Decimal:
    return Decimal(fields["value"])


def _duration(fields: Mapping[str, Any]) -> Any:
    """Its parts are an object, or a list of pairs; its value is all of it in seconds, a month being 30.4 days."""
    if dict(fields["parts"]).keys() <= _EXACT_PARTS:
        return timedelta(seconds=fields["value"])
    return fields


_READERS: dict[str, Callable[[Mapping[str, Any]], Any]] = {
    f"{_SERIALIZERS}{kind}Serializer": read
    for kind, read in {
        "Symbol": _symbol,
        "Time": _time,
        "DateTime": _time,
        "TimeWithZone": _time,
        "Date": _date,
        "BigDecimal": _decimal,
        "Duration": _duration,
    }.items()
}
"""Source: rails/rails, activejob/lib/active_job/serializers."""
