"""What an add-on may bring. A feature is one file, and one line in SIDEKICK['FEATURES']."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cache
from types import MappingProxyType
from typing import Any

from django.core.checks import CheckMessage

from django_sidekick.conf import Settings
from django_sidekick.exceptions import ConfigurationError
from django_sidekick.loading import load_instance
from django_sidekick.wire.outcome import FollowUp, Outcome

Layer = Callable[[Callable[[Any], Any]], Callable[[Any], Any]]


class Feature:
    """Override what the feature needs; what it leaves alone costs nothing, at enqueue and at run time."""

    options: Mapping[str, Callable[[Any], Any]] = MappingProxyType({})
    """Names that classes and set() may carry; each becomes a payload field unless `client_middleware` says else.

    With each its reader: it returns the JSON-native value of the field, or raises TypeError or ValueError with what
    the option must be, such as "a timedelta or seconds above 0".
    """

    client_middleware: tuple[Layer, ...] = ()
    """Layers around the push; each sees the payload, and may change or refuse it (return None).

    Those of a feature with `options` see only payloads that carry one of them.
    """

    stamps: tuple[str, ...] = ()
    """Payload fields that `client_middleware` writes for one push: a job that is run again goes out without them."""

    middleware: tuple[Layer, ...] = ()
    """Layers around `perform`; each sees the job."""

    follow_ups: Callable[[Outcome], Sequence[FollowUp]] | None = None
    """Redis commands that run with a job's acknowledgement, only if it is acknowledged."""

    def checks(self) -> list[CheckMessage]:
        """Return what `manage.py check` should say about this feature."""
        return []


def load_features(settings: Settings) -> tuple[Feature, ...]:
    """Return the features of the settings, in their order. Raise ConfigurationError naming a bad path."""
    return _load(settings.features)


@cache
def _load(paths: tuple[str, ...]) -> tuple[Feature, ...]:
    features = []
    for path in paths:
        feature = load_instance(path, "FEATURES")
        if not isinstance(feature, Feature):
            raise ConfigurationError(f"SIDEKICK['FEATURES'] names {path!r}, which is no Feature.")
        features.append(feature)
    return tuple(features)
