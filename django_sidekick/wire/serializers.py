"""The richer kinds of arguments, each with its marked JSON form."""

from __future__ import annotations

import enum
from collections.abc import Callable
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from functools import cache
from typing import Any, Protocol
from uuid import UUID

from django.apps import apps
from django.core.exceptions import ObjectDoesNotExist
from django.db.models import Model
from django.utils.functional import Promise

from django_sidekick.conf import get_settings
from django_sidekick.exceptions import ConfigurationError, DeserializationError
from django_sidekick.loading import load_instance

KIND = "_sk"


class Serializer(Protocol):
    """A kind of argument of one's own, named by a dotted path in SIDEKICK['SERIALIZERS']."""

    name: str
    """Written into the payload: never change it while jobs are waiting."""

    def is_mine(self, value: Any) -> bool:
        """Tell whether this serializer writes the value."""

    def dump(self, value: Any) -> dict[str, Any]:
        """Return fields of JSON-native or serialisable values."""

    def load(self, fields: dict[str, Any]) -> Any:
        """Return the value again."""


def encode(value: Any) -> dict[str, Any] | None:
    """Return the marked form, or None if nobody writes this kind. The fields may hold rich values again."""
    for serializer in load_serializers(get_settings().serializers):
        if serializer.is_mine(value):
            return {KIND: serializer.name, **serializer.dump(value)}
    if isinstance(value, Model):
        return _encode_model(value)
    if isinstance(value, enum.Enum):
        has_name = value.name in type(value).__members__  # flags that are joined have none of their own
        said = {"name": value.name} if has_name else {"value": value.value}
        return {KIND: "enum", "class": _path(type(value)), **said}
    if isinstance(value, timedelta) and not _is_exact(value):
        return None
    for kind, (name, write, _) in _KINDS.items():
        if isinstance(value, kind):
            return {KIND: name, "value": write(value)}
    return _encode_subclass(value)


def refusal(value: Any) -> str:
    """Return what a value is that encode() has no form for, and the way out: the words after `args[0] is`."""
    if isinstance(value, Model):
        return (
            f"an unsaved {value._meta.label}: a worker reads it by its primary key, and it has none yet. "
            "Save it first, or pass plain values."
        )
    return (
        f"{type(value).__module__}.{type(value).__qualname__} {value!r:.100}, which JSON cannot hold. Pass plain "
        "values, a model instance, or register a serializer in SIDEKICK['SERIALIZERS']."
    )


def restore(marked: dict[str, Any], load: Callable[[Any], Any]) -> Any:
    """Return the value of a marked form. Raise DeserializationError if it is unknown, broken or gone."""
    name = marked[KIND]
    fields = {key: load(item) for key, item in marked.items() if key != KIND}
    try:
        for serializer in load_serializers(get_settings().serializers):
            if serializer.name == name:
                return serializer.load(fields)
        if name in _READERS:
            return _READERS[name](fields)
    except DeserializationError:
        raise
    except Exception as error:
        raise DeserializationError(f"An argument of kind {name!r} is broken: {error}") from error
    raise DeserializationError(f"An argument is of kind {name!r}, which no serializer here reads.")


def _encode_model(value: Model) -> dict[str, Any] | None:
    if value.pk is None:
        return None
    return {
        KIND: "model",
        "model": value._meta.label,
        "pk": value.pk,
        "using": value._state.db or "default",
    }


def _is_exact(value: timedelta) -> bool:
    """Tell whether its seconds, a float, are read as the same again: of centuries the microseconds are lost."""
    try:
        return timedelta(seconds=value.total_seconds()) == value
    except OverflowError:
        return False


def _encode_subclass(value: Any) -> dict[str, Any] | None:
    """Lazy texts and subclasses of plain types go as their plain value: what arrives is the plain one.

    A lazy translation is made here, in the language that is active at the call.
    """
    if isinstance(value, Promise):
        value = str(value)
    for plain in (str, bool, int, float):
        if isinstance(value, plain):
            return {KIND: "plain", "value": plain(value)}
    return None


def _load_model(fields: dict[str, Any]) -> Any:
    model = apps.get_model(fields["model"])
    try:
        return model._base_manager.using(fields["using"]).get(pk=fields["pk"])
    except ObjectDoesNotExist as error:
        raise DeserializationError(
            f"{fields['model']} with primary key {fields['pk']!r} is gone from {fields['using']!r}."
        ) from error


def _load_enum(fields: dict[str, Any]) -> Any:
    """Import nothing that is no Enum: a payload must not choose code to run."""
    module, _, qualname = str(fields["class"]).partition(":")
    for kind in _all_enums(enum.Enum):
        if kind.__module__ == module and kind.__qualname__ == qualname:
            return kind[fields["name"]] if "name" in fields else kind(fields["value"])
    raise DeserializationError(f"The enum {fields['class']!r} is not loaded in this process.")


def _all_enums(kind: type[enum.Enum]) -> list[type[enum.Enum]]:
    return [kind, *(found for sub in kind.__subclasses__() for found in _all_enums(sub))]


def _path(kind: type) -> str:
    return f"{kind.__module__}:{kind.__qualname__}"


@cache
def load_serializers(paths: tuple[str, ...]) -> tuple[Serializer, ...]:
    """Return the serializers of the settings. Raise ConfigurationError naming a path that is none."""
    found = []
    for path in paths:
        serializer = load_instance(path, "SERIALIZERS")
        if missing := [name for name in ("name", "is_mine", "dump", "load") if not hasattr(serializer, name)]:
            raise ConfigurationError(
                f"SIDEKICK['SERIALIZERS'] names {path!r}, which is no serializer: it has no {', '.join(missing)}."
            )
        found.append(serializer)
    return tuple(found)


def _reader(read: Callable[[Any], Any]) -> Callable[[dict[str, Any]], Any]:
    return lambda fields: read(fields["value"])


_KINDS: dict[type, tuple[str, Callable[[Any], Any], Callable[[Any], Any]]] = {
    datetime: ("datetime", datetime.isoformat, datetime.fromisoformat),
    date: ("date", date.isoformat, date.fromisoformat),
    time: ("time", time.isoformat, time.fromisoformat),
    timedelta: ("timedelta", timedelta.total_seconds, lambda seconds: timedelta(seconds=seconds)),
    Decimal: ("decimal", str, Decimal),
    UUID: ("uuid", str, UUID),
}

_READERS: dict[str, Callable[[dict[str, Any]], Any]] = {
    "model": _load_model,
    "enum": _load_enum,
    "plain": lambda fields: fields["value"],
    **{name: _reader(read) for name, _, read in _KINDS.values()},
}
