"""What a job may say about itself: on the class, in set(), and in the payload."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from functools import cache
from typing import Any, Literal, NamedTuple, TypedDict, cast

from django.db import connections

from django_sidekick.conf import HISTORY_LEVELS, get_settings, is_queue_name
from django_sidekick.exceptions import ArgumentError
from django_sidekick.feature import Feature, load_features
from django_sidekick.wire import arguments

MAX_RETRY_FOR_S = 1_000_000_000


class JobOptions(TypedDict, total=False):
    """The keywords of set(). Features add theirs at run time.

    `expires_in` is a feature's, and named here for type checkers alone: an open TypedDict (PEP 728) is not theirs
    yet, and the core must not import a feature to inherit from its own. At run time set() asks the features.
    """

    queue: str
    wait: timedelta | float
    wait_until: datetime
    retry: bool | int
    retry_for: timedelta | int
    retry_queue: str
    dead: bool
    tags: Sequence[str]
    backtrace: bool | int
    enqueue: Literal["on_commit", "immediately"]
    using: str
    jid: str
    expires_in: timedelta | float
    fields: Mapping[str, Any]


PAYLOAD_OPTIONS = ("retry", "retry_for", "retry_queue", "dead", "tags", "backtrace")
WRITTEN_FIELDS = ("class", "args", "kwargs", "at", "enqueued_at", "sk_encoded")
"""Fields that nobody may give: what the call says, and what the push adds."""

CALL_OPTIONS = ("queue", "wait", "wait_until", "enqueue", "using", "jid", "fields")


def field_of(name: str, value: Any) -> Any:
    """Return an option as the payload has it: a feature's by its own reader.

    Raise ArgumentError if Ruby, or we, would misread it.
    """
    read = _FIELDS.get(name) or feature_options().get(name)
    if read is None:
        return value
    try:
        return read(value)
    except (TypeError, ValueError) as error:
        raise ArgumentError(f"{name} must be {error}, not {value!r}.", path=name, value=value) from None


def feature_options() -> Mapping[str, Callable[[Any], Any]]:
    """Return the options of the features in force, each with its reader."""
    return _options_of(load_features(get_settings()))


@cache
def _options_of(features: tuple[Feature, ...]) -> dict[str, Callable[[Any], Any]]:
    return {name: read for feature in features for name, read in feature.options.items()}


def own_fields(fields: Any) -> dict[str, Any]:
    """Return what set(fields=…) adds to the payload. Raise ArgumentError for a name that is not the caller's."""
    if not isinstance(fields, Mapping):
        raise ArgumentError(
            f"fields must map names to values, not be {type(fields).__name__}.", path="fields", value=fields
        )
    for name in fields:
        options = {*PAYLOAD_OPTIONS, *CALL_OPTIONS, *feature_options()}
        if name in options or name in WRITTEN_FIELDS:
            says = f"give it as set({name}=…)" if name in options else "the call itself says it"
            raise ArgumentError(
                f"fields[{name!r}] is no field of your own: {says}.", path=f"fields[{name!r}]", value=fields[name]
            )
    written: dict[str, Any] = arguments.dump_value(dict(fields), "fields")
    return written


def mode_of(value: Any) -> str | None:
    """Return when to push, None for what the settings say. Raise ArgumentError for anything else."""
    if value == "durable":
        raise ArgumentError(
            "enqueue='durable' needs the outbox, which this version does not have yet: use 'on_commit'.",
            path="enqueue",
            value=value,
        )
    if value is None or value in ("on_commit", "immediately"):
        return cast("str | None", value)
    raise ArgumentError(f"enqueue must be 'on_commit' or 'immediately', not {value!r}.", path="enqueue", value=value)


def _retry(value: Any) -> bool | int:
    if isinstance(value, bool | int) and value >= 0:
        return value
    raise ValueError("True, False or a whole number from 0")


def _retry_for(value: Any) -> int:
    seconds = value.total_seconds() if isinstance(value, timedelta) else value
    if isinstance(seconds, bool) or not isinstance(seconds, int | float):
        raise TypeError("a timedelta or whole seconds")
    if not 0 <= seconds < MAX_RETRY_FOR_S or int(seconds) != seconds:
        raise ValueError("a timedelta or whole seconds below 1,000,000,000")
    return int(seconds)


def _tags(value: Any) -> list[str]:
    tags: list[Any] = list(value) if isinstance(value, Iterable) and not isinstance(value, str) else [None]
    if not all(isinstance(tag, str) for tag in tags):
        raise TypeError("a list of texts")
    return tags


def _name(value: Any) -> str:
    if not is_queue_name(value):
        raise TypeError("a queue's name, without comma and line break")
    return str(value)


def _jid(value: Any) -> str:
    if not isinstance(value, str) or not value:
        raise TypeError("a text of at least one character")
    return value


def _flag(value: Any) -> bool:
    if not isinstance(value, bool):
        raise TypeError("True or False")
    return value


_FIELDS: dict[str, Callable[[Any], Any]] = {
    "retry": _retry,
    "retry_for": _retry_for,
    "retry_queue": _name,
    "dead": _flag,
    "tags": _tags,
    "backtrace": _retry,
    "queue": _name,
    "jid": _jid,
}


class Call(NamedTuple):
    """The shape of a class' perform(). `counts`: so many arguments, without names, are a whole call."""

    counts: range
    signature: inspect.Signature

    def bind(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Sequence[Any], Mapping[str, Any]]:
        """Return positional and keyword-only arguments. Raise TypeError for a wrong call, in the caller.

        What can be positional becomes so, defaults before the last given one written out, so that f(1) and
        f(order_id=1) are one payload.
        """
        if not kwargs and len(args) in self.counts:
            return args, kwargs
        bound = self.signature.bind(*args, **kwargs)
        given = set(bound.arguments)
        bound.apply_defaults()
        positional: list[Any] = []
        names: dict[str, Any] = {}
        for name, parameter in self.signature.parameters.items():
            value = bound.arguments[name]
            if parameter.kind is parameter.KEYWORD_ONLY:
                if name in given:
                    names[name] = value
            elif parameter.kind is parameter.VAR_KEYWORD:
                names |= value
            elif parameter.kind is parameter.VAR_POSITIONAL:
                positional += value
            else:
                positional.append(value)
        return positional[: self._length(given, positional)], names

    def _length(self, given: set[str], positional: list[Any]) -> int:
        length = 0
        for index, (name, parameter) in enumerate(self.signature.parameters.items()):
            if name in given and parameter.kind in (
                parameter.POSITIONAL_ONLY,
                parameter.POSITIONAL_OR_KEYWORD,
            ):
                length = index + 1
            elif name in given and parameter.kind is parameter.VAR_POSITIONAL:
                return len(positional)
        return length


def call_of(perform: Callable[..., Any]) -> Call:
    """Return the shape of a perform method, `self` left out."""
    signature = inspect.signature(perform)
    parameters = list(signature.parameters.values())[1:]
    signature = signature.replace(parameters=parameters)
    kinds = [parameter.kind for parameter in parameters]
    positional = [p for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    required_names = any(p.kind is p.KEYWORD_ONLY and p.default is p.empty for p in parameters)
    least = sum(p.default is p.empty for p in positional)
    most = sys.maxsize - 1 if inspect.Parameter.VAR_POSITIONAL in kinds else len(positional)
    counts = range(0) if required_names else range(least, most + 1)
    return Call(counts, signature)


def problems_of(job_class: type[Any]) -> list[str]:
    """Return what would go wrong with a class, in words: options Ruby would misread, names it cannot pass."""
    problems = []
    for name in (*PAYLOAD_OPTIONS, *feature_options()):
        value = getattr(job_class, name, None)
        if value is None:
            continue
        try:
            field_of(name, value)
        except ArgumentError as error:
            problems.append(str(error))
    queue = job_class.queue_as
    if not is_queue_name(queue) and not callable(queue):
        problems.append(f"queue_as must be a queue's name or a callable, not {queue!r}.")
    if job_class.using not in list(connections):
        problems.append(f"using must be a database of DATABASES ({', '.join(connections)}), not {job_class.using!r}.")
    problems += _history_problems(job_class)
    if inspect.isgeneratorfunction(job_class.perform) or inspect.isasyncgenfunction(job_class.perform):
        problems.append(
            "perform holds a yield, so calling it runs nothing: the job would be done without having begun."
        )
    parameters = inspect.signature(job_class.perform).parameters.values()
    names = [p.name for p in parameters if p.kind is p.KEYWORD_ONLY]
    if job_class.class_name and names and not job_class.kwargs:
        problems.append(
            f"class_name = {job_class.class_name!r} shares the job with Ruby, which has no keyword-only "
            f"arguments ({', '.join(names)}): make them positional, or say kwargs = True."
        )
    return problems


def _history_problems(job_class: type[Any]) -> list[str]:
    problems = []
    if job_class.history is not None and job_class.history not in HISTORY_LEVELS:
        problems.append(f"history must be None or one of {', '.join(HISTORY_LEVELS)}, not {job_class.history!r}.")
    redact = job_class.redact
    if (
        isinstance(redact, str)
        or not isinstance(redact, Collection)
        or not all(isinstance(name, str) for name in redact)
    ):
        problems.append(f"redact must be a list of names, not {redact!r}.")
    return problems
