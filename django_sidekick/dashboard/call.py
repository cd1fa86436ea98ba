"""A job's call as Python has it, to be copied into a shell."""

from __future__ import annotations

import keyword
import re
from collections.abc import Mapping, Sequence
from typing import Any

from django_sidekick.jobs.registry import JOBS
from django_sidekick.wire.serializers import KIND

LONGEST = 20_000
_DEEPEST = 100
_DOTTED = re.compile(r"[a-z_]\w*(\.\w+)+")
_READ = {
    "datetime": "datetime.fromisoformat({})",
    "date": "date.fromisoformat({})",
    "time": "time.fromisoformat({})",
    "timedelta": "timedelta(seconds={})",
    "decimal": "Decimal({})",
    "uuid": "UUID({})",
    "plain": "{}",
}


def as_call(name: str, args: Any, kwargs: Any) -> str:
    """Return the call that enqueues the job again: the class' own, or push() for a class that is not Python's.

    '' if the arguments are not known, or are no arguments, or the call would be longer than 20,000 characters.
    """
    if not isinstance(args, list | tuple) or not isinstance(kwargs, Mapping | None) or not name:
        return ""
    try:
        call = _call(name, args, kwargs or {})
    except ValueError:  # a whole number that is too long to be written
        return ""
    return call if len(call) <= LONGEST else ""


def _call(name: str, args: Sequence[Any], kwargs: Mapping[str, Any]) -> str:
    positional = [_expression(value, 0) for value in args]
    named = [f"{key}={_expression(value, 0)}" for key, value in kwargs.items()]
    if not all(map(_is_name, kwargs)):
        named = [f"**{_expression(kwargs, 0)}"]
    short = _short(name)
    if short:
        return f"{short}.perform_later({', '.join([*positional, *named])})"
    words = [repr(name), f"[{', '.join(positional)}]"]
    if kwargs:
        words.append(f"kwargs={_expression(kwargs, 0)}")
    return f"push({', '.join(words)})"


def _short(name: str) -> str:
    if job_class := JOBS.get(name):
        return str(job_class.__qualname__)
    return name.rpartition(".")[2] if _DOTTED.fullmatch(name) else ""


def _expression(value: Any, depth: int) -> str:
    if depth > _DEEPEST:
        return "…"
    if isinstance(value, list | tuple):
        return f"[{', '.join(_expression(item, depth + 1) for item in value)}]"
    if isinstance(value, Mapping):
        return _marked(value) or _dict(value, depth)
    return repr(value)


def _dict(value: Mapping[str, Any], depth: int) -> str:
    items = (f"{key!r}: {_expression(item, depth + 1)}" for key, item in value.items())
    return f"{{{', '.join(items)}}}"


def _marked(value: Mapping[str, Any]) -> str:
    """A richer kind as it was given; '' for what is none of ours: whoever pushes could write code there."""
    kind = value.get(KIND)
    if kind == "model" and isinstance(value.get("model"), str):
        label, using = value["model"].rpartition(".")[2], value.get("using", "default")
        manager = "objects" if using == "default" else f"objects.using({using!r})"
        return f"{label}.{manager}.get(pk={value.get('pk')!r})" if _is_name(label) else ""
    if kind == "enum" and isinstance(value.get("class"), str):
        label = value["class"].rpartition(":")[2]
        member = f"[{value['name']!r}]" if "name" in value else f"({value.get('value')!r})"
        return f"{label}{member}" if all(map(_is_name, label.split("."))) else ""
    template = _READ.get(kind) if isinstance(kind, str) else None
    return template.format(repr(value.get("value"))) if template else ""


def _is_name(word: str) -> bool:
    return word.isidentifier() and not keyword.iskeyword(word)
