"""Arguments: what JSON can hold goes as it is, a few richer kinds in a marked form, the rest is refused."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from django_sidekick.exceptions import ArgumentError
from django_sidekick.wire import serializers

DEEPEST = 100
KIND = serializers.KIND

_ATOMS = frozenset({str, int, bool, type(None)})


def dump_call(args: Sequence[Any], kwargs: Mapping[str, Any]) -> tuple[list[Any], dict[str, Any], bool]:
    """Return JSON-native copies of the arguments, and whether something was encoded.

    Raise ArgumentError with the path to the first value that cannot be held, such as `args[0]['a'][3]`.
    """
    if not kwargs and is_plain(args):
        return list(args), {}, False
    writer = _Writer()
    dumped = [writer.dump(value, f"args[{index}]", 0) for index, value in enumerate(args)]
    named = {name: writer.dump(value, name, 0) for name, value in kwargs.items()}
    return dumped, named, writer.encoded


def dump_value(value: Any, path: str) -> Any:
    """Return a JSON-native copy of one value; its path in errors begins with `path`."""
    return _Writer().dump(value, path, 0)


def load(value: Any) -> Any:
    """Return the value with every marked form restored. Raise DeserializationError if that cannot be done."""
    if type(value) is list:
        return [load(item) for item in value]
    if type(value) is dict:
        if KIND in value:
            return serializers.restore(value, load)
        return {key: load(item) for key, item in value.items()}
    return value


def is_plain(values: Iterable[Any], depth: int = 0) -> bool:
    """Tell whether JSON holds all of it as it is: then nothing is copied. The writer below says what is wrong."""
    for value in values:
        kind = type(value)
        if kind in _ATOMS:
            continue
        if kind is float and math.isfinite(value):
            continue
        if depth >= DEEPEST - 1:
            return False
        if kind is dict:
            if KIND in value:
                return False
            for key, item in value.items():
                if type(key) is not str:
                    return False
                if type(item) not in _ATOMS and not is_plain((item,), depth + 1):
                    return False
        elif kind is not list or not is_plain(value, depth + 1):
            return False
    return True


def holds(value: Any, is_it: Callable[[Any], bool]) -> bool:
    """Tell whether a JSON value, or anything in it at any depth, is what is looked for."""
    left = [value]
    while left:
        item = left.pop()
        if is_it(item):
            return True
        left += item.values() if isinstance(item, dict) else item if isinstance(item, list) else ()
    return False


class _Writer:
    """One walk over the arguments of one call."""

    def __init__(self) -> None:
        self.encoded = False
        self._open: set[int] = set()

    def dump(self, value: Any, path: str, depth: int) -> Any:
        kind = type(value)
        if kind in _ATOMS:
            return value
        if kind is float:
            return self._float(value, path)
        if kind in (list, tuple):
            return self._within(value, path, depth, self._list)
        if kind is dict:
            return self._within(value, path, depth, self._dict)
        return self._rich(value, path, depth)

    def _float(self, value: float, path: str) -> float:
        if not math.isfinite(value):
            raise ArgumentError(f"{path} is {value!r}, which JSON cannot hold.", path=path, value=value)
        return value

    def _within(self, value: Any, path: str, depth: int, dump: Any) -> Any:
        if depth >= DEEPEST:
            raise ArgumentError(f"{path[:200]}… is nested deeper than {DEEPEST} levels.", path=path, value=value)
        if id(value) in self._open:
            raise ArgumentError(f"{path} contains itself.", path=path, value=value)
        self._open.add(id(value))
        try:
            return dump(value, path, depth + 1)
        finally:
            self._open.discard(id(value))

    def _list(self, value: Sequence[Any], path: str, depth: int) -> list[Any]:
        return [self.dump(item, f"{path}[{index}]", depth) for index, item in enumerate(value)]

    def _dict(self, value: Mapping[Any, Any], path: str, depth: int) -> dict[str, Any]:
        for key in value:
            if type(key) is not str:
                raise ArgumentError(f"{path} has the key {key!r}: JSON knows text keys only.", path=path, value=key)
            if key == KIND:
                raise ArgumentError(f"{path} has the key {KIND!r}, which is reserved.", path=path, value=key)
        return {key: self.dump(item, f"{path}[{key!r}]", depth) for key, item in value.items()}

    def _rich(self, value: Any, path: str, depth: int) -> Any:
        marked = serializers.encode(value)
        if marked is None:
            raise ArgumentError(f"{path} is {serializers.refusal(value)}", path=path, value=value)
        self.encoded = True
        inner = {key: item for key, item in marked.items() if key != KIND}
        return {KIND: marked[KIND], **self._within(inner, path, depth, self._dict)}
