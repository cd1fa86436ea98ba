"""config/sidekiq.yml, in Sidekiq's own words."""

from __future__ import annotations

import difflib
import re
import reprlib
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from django_sidekick.conf import MOST_QUEUES, is_queue_name
from django_sidekick.exceptions import ConfigurationError

try:
    import yaml
except ImportError:  # the extra [yaml] is optional
    yaml = None  # type: ignore[assignment]

DEFAULT_NAMES = ("config/sidekiq.yml", "config/sidekick.yml")
LARGEST = 1_000_000
NUMBERS = {
    "concurrency": (1, LARGEST), "timeout": (0, LARGEST), "max_retries": (0, LARGEST), "dead_max_jobs": (2, LARGEST),
    "dead_timeout_in_seconds": (0, 100 * 366 * 86_400),
}  # fmt: skip
"""Options that are whole numbers, with the least and the largest of each: of the last, 100 years."""

KNOWN = (*NUMBERS, "queues", "tag", "labels", "verbose", "environment", "average_scheduled_poll_interval")
UNSERVED = ("capsules", "pidfile", "logfile", "require", "daemon")
_ODD_VALUES = (ValueError, TypeError, RecursionError, LookupError, AttributeError, ArithmeticError)
"""What PyYAML's constructors raise for `!!int ""`, `!!bool x`, `!!timestamp x`, …"""
_brief = reprlib.Repr()
_brief.maxlevel = 2


def find(base_dir: Path) -> Path | None:
    """Return BASE_DIR/config/sidekiq.yml or sidekick.yml, whichever is there first."""
    return next((path for name in DEFAULT_NAMES if (path := base_dir / name).is_file()), None)


def read(path: Path, environment: str = "") -> dict[str, Any]:
    """Return the file's options under Sidekiq's names, `queues` as (name, weight) pairs, the environment's on top.

    Without `environment`, the file's own `:environment:` says it. Keys may be written as Ruby symbols
    (`:concurrency:`). Raise ConfigurationError, naming file and key, for what cannot be read or is not known.
    """
    try:
        text = path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{path} cannot be read: {error}") from error
    if "<%" in text:
        raise ConfigurationError(f"{path} holds ERB tags (<% %>), which only Ruby can run: write the values out.")
    if yaml is None:
        raise ConfigurationError(
            f"{path} needs PyYAML to be read: pip install 'django-sidekick[yaml]', or remove the file."
        )
    try:
        document = yaml.safe_load(text)
    except (yaml.YAMLError, *_ODD_VALUES) as error:
        raise ConfigurationError(f"{path} is no YAML: {' '.join(str(error).split())}") from error
    try:
        return _options(_mapping({} if document is None else document, path, "the file"), path, environment)
    except ValueError as error:  # an integer of more digits than Python writes, as 0xfff… may be
        raise ConfigurationError(f"{path}: {error}") from error


def _options(document: Mapping[str, Any], path: Path, environment: str) -> dict[str, Any]:
    sections = _sections(document, path)
    merged = {key: value for key, value in document.items() if key not in sections}
    if "environment" in merged and not isinstance(merged["environment"], str):
        raise ConfigurationError(f"{path}: `environment` must be a name, not {_brief.repr(merged['environment'])}.")
    environment = (environment or merged.get("environment", "")).removeprefix(":")
    merged |= sections.get(environment, {}) if environment else {}
    unserved = [key for key in merged if key in UNSERVED]
    if unserved:
        raise ConfigurationError(f"{path}: `{unserved[0]}` is not served here; run one worker for each, or remove it.")
    if unknown := [key for key in merged if key not in KNOWN]:
        name = _short(unknown[0])
        raise ConfigurationError(f"{path}: `{name}` is no option of sidekiq.yml.{_hint(name)}")
    _read_values(merged, path)
    return merged


def _sections(document: Mapping[str, Any], path: Path) -> dict[str, dict[str, Any]]:
    """Return what stands there for single environments: mappings of known options; beside one, what is empty too."""
    others = {key: value for key, value in document.items() if key not in KNOWN and key not in UNSERVED}
    sections = {key: _mapping(value, path, key) for key, value in others.items() if isinstance(value, dict)}
    for key, section in sections.items():
        if odd := [name for name in section if name not in KNOWN and name not in UNSERVED]:
            name, inner = _short(key), _short(odd[0])
            raise ConfigurationError(
                f"{path}: `{name}` is no option of sidekiq.yml, and no section of an environment, for `{inner}` "
                f"is no option either.{_hint(name, inner)}"
            )
    empty = [key for key, value in others.items() if sections and value is None]
    return sections | {key: {} for key in empty}


def _short(key: str) -> str:
    return " ".join(key.split())[:100]


def _hint(*names: str) -> str:
    close = [found for name in names for found in difflib.get_close_matches(name, KNOWN, n=1)]
    return f" Did you mean `{close[0]}`?" if close else f" Known are {', '.join(KNOWN)}."


def _read_values(merged: dict[str, Any], path: Path) -> None:
    if not isinstance(merged.get("verbose", False), bool):
        raise ConfigurationError(f"{path}: `verbose` must be true or false, not {_brief.repr(merged['verbose'])}.")
    for key in NUMBERS:
        if key in merged:
            merged[key] = _number(merged[key], path, key)
    if "queues" in merged:
        merged["queues"] = _queues(merged["queues"], path)
    if "labels" in merged:
        labels = [] if merged["labels"] is None else merged["labels"]
        if not isinstance(labels, list):
            raise ConfigurationError(f"{path}: `labels` must be a list of texts, not {_brief.repr(labels)}.")
        merged["labels"] = tuple(_text(label, path, "labels") for label in labels)
    if merged.get("tag") is not None:
        merged["tag"] = _text(merged["tag"], path, "tag")


def _mapping(value: Any, path: Path, where: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ConfigurationError(f"{path}: {where} must map options to values, not be {_brief.repr(value)}.")
    return {str(key).lstrip(":"): inner for key, inner in value.items()}


def _number(value: Any, path: Path, key: str) -> int:
    least, most = NUMBERS[key]
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
        raise ConfigurationError(
            f"{path}: `{key}` must be a whole number from {least} to {most:,}, not {_brief.repr(value)}."
        )
    return value


def _text(value: Any, path: Path, key: str) -> str:
    """No text of a list or mapping: of one that holds an alias many times, it may have no end."""
    if isinstance(value, Collection) and not isinstance(value, str):
        raise ConfigurationError(f"{path}: `{key}` must be text, not {_brief.repr(value)}.")
    return str(value)


def _queues(value: Any, path: Path) -> tuple[tuple[str, int], ...]:
    """Sidekiq's forms: `- name`, `- name,2`, `- [name, 2]`, and a mapping of names to weights; symbols as names."""
    if isinstance(value, dict):
        value = list(value.items())
    if not isinstance(value, list) or not value:
        raise ConfigurationError(f"{path}: `queues` must be a list of names or [name, weight] pairs.")
    return parse_queues([_queue_text(entry, path) for entry in value], f"{path}: `queues`")


def _queue_text(entry: Any, path: Path) -> str:
    if isinstance(entry, list | tuple) and len(entry) == 2 and all(isinstance(part, str | int) for part in entry):
        return f"{str(entry[0]).removeprefix(':')},{entry[1]}"
    if isinstance(entry, str | int):
        return str(entry).removeprefix(":")
    raise ConfigurationError(f"{path}: {_brief.repr(entry)} in `queues` is neither a name nor [name, weight].")


def parse_queues(texts: list[str], where: str) -> tuple[tuple[str, int], ...]:
    """Return (name, weight) pairs of `name` or `name,weight` texts; weight 0 throughout means strict order.

    A name without weight beside weighted ones counts 1. Raise ConfigurationError with `where` in front.
    """
    queues: dict[str, int] = {}
    for text in texts:
        name, _, weight = text.partition(",")
        name = name.strip()
        if not is_queue_name(name):
            raise ConfigurationError(f"{where}: {name!r} is no queue's name.")
        if weight and not re.fullmatch(r"\s*\d{1,4}\s*", weight):
            raise ConfigurationError(f"{where}: the weight of {name!r} must be a whole number, not {weight!r}.")
        queues[name] = queues.get(name, 0) + int(weight or 0)
    if any(queues.values()):
        queues = {name: max(weight, 1) for name, weight in queues.items()}
    if len(queues) > MOST_QUEUES:
        raise ConfigurationError(f"{where}: one worker reads at most {MOST_QUEUES} queues.")
    return tuple(queues.items())
