"""One job on its way out, and the client middleware that its payload passes."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any, NamedTuple

from django_sidekick.broker.broker import Push
from django_sidekick.conf import Settings
from django_sidekick.feature import load_features
from django_sidekick.jobs.handle import EnqueuedJob
from django_sidekick.middleware import Handler, compose, load_layers


class Request:
    """One job to be pushed: the payload without its last fields, when it is due, and whose COMMIT it waits for."""

    __slots__ = ("at_s", "handle", "mode", "payload", "push", "using")

    def __init__(
        self, payload: dict[str, Any], at_s: float | None = None, using: str = "default", mode: str | None = None
    ) -> None:
        self.payload = payload
        self.at_s = at_s
        self.using = using
        self.mode = mode
        self.push: Push | None = None
        self.handle = EnqueuedJob("")


def _accept(payload: dict[str, Any]) -> dict[str, Any]:
    return payload


class ClientLayers(NamedTuple):
    """The onions, composed once: the project's layers outside, the features' inside.

    The layers of a feature that has options stand around the payloads that carry one of them, and around no other.
    """

    options: frozenset[str]
    with_options: Handler | None
    without: Handler | None


    def around(self, payload: Mapping[str, Any]) -> Handler | None:
        """Return the client middleware for a payload; None if there is none."""
        return self.without if self.options.isdisjoint(payload) else self.with_options


@cache
def client_layers(settings: Settings) -> ClientLayers:
    """Return the layers of the project and of its features."""
    features = load_features(settings)
    own = load_layers(settings.client_middleware, "CLIENT_MIDDLEWARE")
    always = [layer for feature in features if not feature.options for layer in feature.client_middleware]
    every = [layer for feature in features for layer in feature.client_middleware]
    optional = [feature for feature in features if feature.options and feature.client_middleware]
    return ClientLayers(
        frozenset(name for feature in optional for name in feature.options),
        compose([*own, *every], _accept) if own or every else None,
        compose([*own, *always], _accept) if own or always else None,
    )
