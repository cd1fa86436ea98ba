"""What a row keeps of a job's arguments: cut, redacted, or nothing."""

from __future__ import annotations

import inspect
import re
import sys
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any, NamedTuple

from django_sidekick.conf import Settings
from django_sidekick.exceptions import ArgumentError, DeserializationError
from django_sidekick.wire import codec, ruby
from django_sidekick.wire.arguments import DEEPEST, dump_call, holds
from django_sidekick.wire.payload import as_text

REDACTED = "[redacted]"
UNFIT = re.compile("[\0\ud800-\udfff]")
_MOST_DIGITS = min(
    sys.get_int_max_str_digits() or sys.int_info.default_max_str_digits, sys.int_info.default_max_str_digits
)
_SHORT = 2 * DEEPEST
"""Characters of a text that can hold neither: of each list, two are its brackets."""
_LONG_NUMBER = re.compile(rf"\d{{{_MOST_DIGITS + 1}}}")


def text(value: object, longest: int = 255) -> str:
    """Return a text that every database takes: no NUL, no lone surrogate, cut to its column."""
    return UNFIT.sub("\ufffd", as_text(value)[:longest])


class Arguments:
    """The rules of the settings and of the job classes. What stands in Redis is not changed."""

    def __init__(self, settings: Settings, classes: Mapping[str, type[Any]]) -> None:
        self._keeps = settings.history_arguments
        self._most_bytes = settings.history_arguments_max_bytes
        self._classes = classes
        self._plain: set[str] = set()
        """Classes of which nothing is left out, and whose names are fit."""

    def of(self, payload: dict[str, Any], told: tuple[str, ...] = ()) -> tuple[str, str | None, str | None]:
        """Return the job's class, and its args and kwargs as JSON texts; both None if they are left out.

        `told`: what those who ran or pushed it know to be hidden. If its class does not say so here, it is of another
        version or not known at all: which value is which is not known either, and nothing is kept.
        """
        name, args, kwargs = payload["class"], payload["args"], payload.get("kwargs")
        if name in self._plain and not kwargs and not told:
            written = self.text_of(args)
            return (name, written, "{}") if written and _size_of(written) <= self._most_bytes else (name, None, None)
        inside, is_read = name, True
        if name in ruby.WRAPPERS:
            inside, name, args, kwargs, is_read = _unwrapped(payload)
        job_class = _class_name(name)
        if not self._keeps:
            return job_class, None, None
        redact = getattr(self._classes.get(inside), "redact", ())
        if not set(told) <= set(redact):
            return job_class, None, None
        if not redact and job_class == name not in ruby.WRAPPERS and len(self._plain) < 1000:
            self._plain.add(name)
        if redact:
            if not is_read or not isinstance(kwargs, dict | None):  # nobody knows which value is which parameter's
                return job_class, None, None
            try:
                args, kwargs = _redacted(args, kwargs, frozenset(redact), self._classes[inside])
            except RecursionError:  # nested too deeply to be looked through
                return job_class, None, None
        written = self.text_of(args)
        named = self.text_of(kwargs) if kwargs else "{}"
        if written is None or named is None or _size_of(written) + _size_of(named) - 2 > self._most_bytes:
            return job_class, None, None
        return job_class, written, named

    @staticmethod
    def text_of(value: Any) -> str | None:
        """Return a JSON text that every database takes and json.loads() reads: without NUL and lone surrogates.

        None if there is none: a number has too many digits for int(), or lists stand in lists too deeply. A row with
        such a text could be written, and no list that it stands in could be read.
        """
        try:
            written = codec.dumps(value).decode()
            if len(written) > _SHORT and not _is_readable(written, value):
                return None
            return written if "\\u" not in written else codec.dumps(_fit(value)).decode()
        except (TypeError, ValueError, RecursionError):
            return None


def _is_readable(written: str, value: Any) -> bool:
    """Tell whether json.loads() reads it again, in any stack. Only a long text is looked at: others cannot be odd."""
    if len(written) > _MOST_DIGITS and _LONG_NUMBER.search(written) and holds(value, _is_long_number):
        return False
    return written.count("[") + written.count("{") <= DEEPEST + 1 or not _is_deeper(value, DEEPEST + 1)


def _is_long_number(value: Any) -> bool:
    """Tell a number from a text's digits, which may be as many as they like."""
    return type(value) is int and abs(value) >= 10**_MOST_DIGITS


def _is_deeper(value: Any, levels: int) -> bool:
    """Tell whether lists and dicts stand in each other on more than so many levels."""
    if not isinstance(value, dict | list):
        return False
    inner = value.values() if isinstance(value, dict) else value
    return levels == 0 or any(_is_deeper(item, levels - 1) for item in inner)


def _size_of(written: str) -> int:
    """Its bytes in UTF-8. Of ASCII, as nearly all texts are, their number is known."""
    return len(written) if written.isascii() else len(written.encode())


def _unwrapped(payload: dict[str, Any]) -> tuple[str, str, Any, Any, bool]:
    """Return the class inside, the one that is told, args, kwargs, and whether these are those of the job inside."""
    if not ruby.is_wrapped(payload):
        inside = ruby.job_name(payload)
        return inside, payload["class"], payload["args"], payload.get("kwargs"), False
    try:
        name, args, kwargs = ruby.unwrap(payload)
        args, kwargs, _ = dump_call(args, kwargs)
    except (DeserializationError, ArgumentError, RecursionError):
        name = ruby.job_name(payload)
        return name, name, payload["args"], None, False
    return name, name, args, kwargs, True


def _redacted(args: list[Any], kwargs: Any, names: frozenset[str], job_class: type[Any]) -> tuple[Any, Any]:
    """Hide the values of these parameters, of keys of these names at any depth, and what is no parameter's.

    A name that is no parameter may be one behind a decorator: what stands in its *args is hidden too, for nobody knows
    which of it is meant.
    """
    takes = _taken_by(job_class.perform)
    are_rest_hidden = takes.rest in names or not takes.rest or not names <= takes.names
    shown = []
    for index, value in enumerate(args):
        is_hidden = takes.positional[index] in names if index < len(takes.positional) else are_rest_hidden
        shown.append(REDACTED if is_hidden else _hidden(value, names))
    if kwargs and takes.others in names:
        kwargs = {name: value if name in takes.by_name else REDACTED for name, value in kwargs.items()}
    return shown, _hidden(kwargs, names)


class _Taken(NamedTuple):
    """The names of perform's parameters. `rest` and `others` are those of *args and **kwargs; "" without them."""

    positional: list[str]
    by_name: frozenset[str]
    rest: str
    others: str
    names: frozenset[str]


@lru_cache(1000)
def _taken_by(perform: Callable[..., Any]) -> _Taken:
    parameters = list(inspect.signature(perform).parameters.values())[1:]
    positional = [p.name for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    by_name = frozenset(p.name for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY))
    rest = next((p.name for p in parameters if p.kind is p.VAR_POSITIONAL), "")
    others = next((p.name for p in parameters if p.kind is p.VAR_KEYWORD), "")
    return _Taken(positional, by_name, rest, others, frozenset(p.name for p in parameters))


def _hidden(value: Any, names: frozenset[str]) -> Any:
    if isinstance(value, dict):
        return {key: REDACTED if key in names else _hidden(item, names) for key, item in value.items()}
    if isinstance(value, list):
        return [_hidden(item, names) for item in value]
    return value


def _fit(value: Any) -> Any:
    if isinstance(value, str):
        return UNFIT.sub("\ufffd", value)
    if isinstance(value, dict):
        return {UNFIT.sub("\ufffd", key): _fit(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_fit(item) for item in value]
    return value


@lru_cache(1000)
def _class_name(name: str) -> str:
    return text(name)
