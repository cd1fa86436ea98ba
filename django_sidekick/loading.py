"""What a dotted path in the settings names."""

from __future__ import annotations

from typing import Any

from django.utils.module_loading import import_string

from django_sidekick.exceptions import ConfigurationError


def load_path(path: str, key: str) -> Any:
    """Return what a dotted path in SIDEKICK[key] names. Raise ConfigurationError naming both."""
    try:
        return import_string(path)
    except (ImportError, ValueError, TypeError) as error:  # the last two: paths such as "" and ".."
        raise ConfigurationError(f"SIDEKICK[{key!r}] names {path!r}: {error}") from error


def load_instance(path: str, key: str) -> Any:
    """Return an instance of the class that a dotted path in SIDEKICK[key] names. Raise ConfigurationError."""
    kind = load_path(path, key)
    if not isinstance(kind, type):
        raise ConfigurationError(f"SIDEKICK[{key!r}] names {path!r}, which is no class.")
    try:
        return kind()
    except TypeError as error:
        raise ConfigurationError(f"SIDEKICK[{key!r}] names {path!r}: {error}") from error
