"""The settings: one dict `SIDEKICK` in, one frozen value out."""

from __future__ import annotations

import difflib
import os
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from functools import cache
from pathlib import Path
from typing import Any

from django.conf import settings as django_settings
from django.core.signals import setting_changed

from django_sidekick.exceptions import ConfigurationError

MOST_QUEUES = 256
"""What one worker reads."""

STATES = ("enqueued", "scheduled", "processed", "retry", "dead", "failed", "discarded")
"""Of a mirrored job, as HISTORY_RETENTION names them."""

_KEPT: tuple[tuple[str, float | None], ...] = tuple((state, 30 * 86_400.0) for state in STATES)

HISTORY_LEVELS = ("finished", "full", "failures", "off")
"""Of history: in HISTORY, and as `history` of a job class."""

DEFAULT_FEATURES = ("django_sidekick.features.expiry.Expiry",)


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What is in force. docs/reference/settings.md says purpose, unit, default and reader of each."""

    redis: str | tuple[str, ...] | None = None
    key_prefix: str = ""
    max_retries: int = 25
    queues: tuple[tuple[str, int], ...] = (("default", 0),)
    concurrency: int = 10
    async_concurrency: int = 100
    processes: int = 1
    child_max_jobs: int | None = None
    child_max_memory_mib: int | None = None
    shutdown_timeout_s: float = 25.0
    enqueue: str = "on_commit"
    enqueue_timeout_s: float = 2.0
    enqueue_errors: str = "log"
    history: str = "finished"
    history_database: str = "default"
    history_sample: float = 1.0
    history_retention_s: tuple[tuple[str, float | None], ...] = _KEPT
    history_max_rows: int | None = None
    history_stream_max_mib: int = 64
    history_overflow: str = "drop"
    history_arguments: bool = True
    history_arguments_max_bytes: int = 10_000
    client_middleware: tuple[str, ...] = ()
    middleware: tuple[str, ...] = ()
    features: tuple[str, ...] = DEFAULT_FEATURES
    serializers: tuple[str, ...] = ()
    error_handlers: tuple[str, ...] = ()
    worker_conn_max_age_s: float | None = 60.0
    log_format: str = "text"
    log_jobs: bool = True
    runtime_dir: Path = Path()
    state_dir: Path = Path()
    max_payload_bytes: int | None = None
    dead_max_jobs: int = 10_000
    dead_timeout_s: float = 180 * 86_400.0
    wire_times: str = "milliseconds"

    def __hash__(self) -> int:
        """Return a cheap hash: settings are looked up with every push, and few differ in one process."""
        return hash((self.redis, self.key_prefix))


def get_settings() -> Settings:
    """Return the settings in force. Raise ConfigurationError naming the key that cannot be served."""
    return _in_force()


@cache
def _in_force() -> Settings:
    return build_settings(getattr(django_settings, "SIDEKICK", {}))


def _forget(*, setting: str, **_: Any) -> None:
    if setting == "SIDEKICK":
        _in_force.cache_clear()


setting_changed.connect(_forget)


def build_settings(given: Any) -> Settings:
    """Return Settings for a SIDEKICK dict. Raise ConfigurationError naming the key, the value and the way out."""
    if not isinstance(given, Mapping):
        raise ConfigurationError(f"SIDEKICK must be a dict, not {given!r}.")
    for key in given:
        if key not in _READERS:
            close = difflib.get_close_matches(str(key).upper(), _READERS, n=1)
            hint = f" Did you mean {close[0]!r}?" if close else ""
            raise ConfigurationError(f"SIDEKICK has the unknown key {key!r}.{hint}")
    values: dict[str, Any] = {"runtime_dir": _runtime_dir(), "state_dir": _state_dir()}
    for key, value in given.items():
        name, read = _READERS[key]
        if value is None and key in {"RUNTIME_DIR", "STATE_DIR"}:
            continue
        try:
            values[name] = read(value)
        except (ValueError, TypeError) as error:
            raise ConfigurationError(f"SIDEKICK[{key!r}] {error}, not {value!r}.") from None
    return Settings(**values)


def is_queue_name(value: Any) -> bool:
    """Tell whether a queue may be called so: a text that `-q NAME,WEIGHT`, a list of names, a line each, and UTF-8 can hold."""
    if not isinstance(value, str) or value.strip() != value or {",", "\n", "\r"} & set(value):
        return False
    return value.encode(errors="ignore").decode() == value != ""


def _runtime_dir() -> Path:
    uid = os.getuid() if hasattr(os, "getuid") else 0
    user = Path(f"/run/user/{uid}")
    if user.is_dir() and os.access(user, os.W_OK):
        return user / "django-sidekick"
    return Path(tempfile.gettempdir()) / f"django-sidekick-{uid}"


def _state_dir() -> Path:
    return Path(getattr(django_settings, "BASE_DIR", None) or Path.cwd()) / ".sidekick"


def _integer(least: int, *, optional: bool = False) -> Callable[[Any], int | None]:
    def read(value: Any) -> int | None:
        if value is None and optional:
            return None
        if isinstance(value, bool) or not isinstance(value, int) or value < least:
            raise ValueError(f"must be a whole number from {least}")
        return value

    return read


def _seconds(*, least: float = 0, optional: bool = False) -> Callable[[Any], float | None]:
    def read(value: Any) -> float | None:
        if value is None and optional:
            return None
        if isinstance(value, timedelta):
            value = value.total_seconds()
        if isinstance(value, bool) or not isinstance(value, int | float) or not least <= value < 1e9:
            raise ValueError(f"must be seconds from {least}, or a timedelta")
        return float(value)

    return read


def _share(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1:
        raise ValueError("must be a share from 0 to 1")
    return float(value)


def _retention(value: Any) -> tuple[tuple[str, float | None], ...]:
    """One age for all states, or some states' own; the others keep the default. None keeps for ever."""
    read = _seconds(optional=True)
    if not isinstance(value, Mapping):
        return tuple((state, read(value)) for state in STATES)
    if unknown := set(value) - set(STATES):
        raise ValueError(f"must map states to ages, and {min(map(str, unknown))!r} is none of {', '.join(STATES)}")
    ages: dict[str, float | None] = dict(_KEPT)
    return tuple((ages | {state: read(age) for state, age in value.items()}).items())


def _choice(*choices: str) -> Callable[[Any], str]:
    def read(value: Any) -> str:
        if value not in choices:
            raise ValueError(f"must be one of {', '.join(map(repr, choices))}")
        return str(value)

    return read


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError("must be a text")
    return value


def _flag(value: Any) -> bool:
    if not isinstance(value, bool):
        raise TypeError("must be True or False")
    return value


def _texts(value: Any) -> tuple[str, ...]:
    if not isinstance(value, list | tuple) or not all(isinstance(item, str) for item in value):
        raise TypeError("must be a list of dotted paths")
    return tuple(value)


def _redis(value: Any) -> str | tuple[str, ...] | None:
    if value is None or (isinstance(value, str) and value):
        return value
    if isinstance(value, list | tuple) and value and all(isinstance(item, str) for item in value):
        return tuple(value)
    raise ValueError("must be a URL, a cache alias, or a list of them")


def _directory(value: Any) -> Path:
    if not isinstance(value, str | os.PathLike):
        raise TypeError("must be a path")
    return Path(value).absolute()  # a job may change the working directory


def _queues(value: Any) -> tuple[tuple[str, int], ...]:
    entries = list(value.items()) if isinstance(value, Mapping) else value
    if not isinstance(entries, list | tuple) or not entries:
        raise ValueError("must be a list of names or of (name, weight) pairs, or a dict of names to weights")
    queues: dict[str, int] = {}
    for entry in entries:
        pair = (entry, 0) if isinstance(entry, str) else entry
        if not isinstance(pair, list | tuple) or len(pair) != 2:
            raise ValueError(f"must hold names or pairs of a name and a weight, and {entry!r:.50} is neither")
        name, weight = pair
        if not is_queue_name(name):
            raise ValueError("must hold queue names: texts without comma and line break")
        if isinstance(weight, bool) or not isinstance(weight, int) or weight < 0:
            raise ValueError("must hold whole weights from 0")
        queues[name] = weight
    if len(queues) > MOST_QUEUES:
        raise ValueError(f"must hold at most {MOST_QUEUES} queues")
    if any(queues.values()):
        queues = {name: max(weight, 1) for name, weight in queues.items()}
    return tuple(queues.items())


def _enqueue(value: Any) -> str:
    if value == "durable":
        raise ValueError("must be 'on_commit' or 'immediately' until the outbox is built")
    return _choice("on_commit", "immediately")(value)


_READERS: dict[str, tuple[str, Callable[[Any], Any]]] = {
    "REDIS": ("redis", _redis),
    "KEY_PREFIX": ("key_prefix", _text),
    "MAX_RETRIES": ("max_retries", _integer(0)),
    "QUEUES": ("queues", _queues),
    "CONCURRENCY": ("concurrency", _integer(1)),
    "ASYNC_CONCURRENCY": ("async_concurrency", _integer(0)),
    "PROCESSES": ("processes", _integer(0)),
    "CHILD_MAX_JOBS": ("child_max_jobs", _integer(1, optional=True)),
    "CHILD_MAX_MEMORY_MIB": ("child_max_memory_mib", _integer(1, optional=True)),
    "SHUTDOWN_TIMEOUT": ("shutdown_timeout_s", _seconds()),
    "ENQUEUE": ("enqueue", _enqueue),
    "ENQUEUE_TIMEOUT": ("enqueue_timeout_s", _seconds(least=0.01)),
    "ENQUEUE_ERRORS": ("enqueue_errors", _choice("log", "raise")),
    "HISTORY": ("history", _choice(*HISTORY_LEVELS)),
    "HISTORY_DATABASE": ("history_database", _text),
    "HISTORY_SAMPLE": ("history_sample", _share),
    "HISTORY_RETENTION": ("history_retention_s", _retention),
    "HISTORY_MAX_ROWS": ("history_max_rows", _integer(1, optional=True)),
    "HISTORY_STREAM_MAX_MIB": ("history_stream_max_mib", _integer(1)),
    "HISTORY_OVERFLOW": ("history_overflow", _choice("drop", "throttle")),
    "HISTORY_ARGUMENTS": ("history_arguments", _flag),
    "HISTORY_ARGUMENTS_MAX_BYTES": ("history_arguments_max_bytes", _integer(0)),
    "CLIENT_MIDDLEWARE": ("client_middleware", _texts),
    "MIDDLEWARE": ("middleware", _texts),
    "FEATURES": ("features", _texts),
    "SERIALIZERS": ("serializers", _texts),
    "ERROR_HANDLERS": ("error_handlers", _texts),
    "WORKER_CONN_MAX_AGE": ("worker_conn_max_age_s", _seconds(optional=True)),
    "LOG_FORMAT": ("log_format", _choice("text", "json")),
    "LOG_JOBS": ("log_jobs", _flag),
    "RUNTIME_DIR": ("runtime_dir", _directory),
    "STATE_DIR": ("state_dir", _directory),
    "MAX_PAYLOAD_BYTES": ("max_payload_bytes", _integer(1, optional=True)),
    "DEAD_MAX_JOBS": ("dead_max_jobs", _integer(2)),
    "DEAD_TIMEOUT": ("dead_timeout_s", _seconds()),
    "WIRE_TIMES": ("wire_times", _choice("milliseconds", "seconds")),
}
