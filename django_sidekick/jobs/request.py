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
from django_sidekick.wire import codec
from django_sidekick.wire.frame import Frame


class Request:
    """One job to be pushed: the payload without its last fields, when it is due, and whose COMMIT it waits for.

    A plain call is kept as its arguments and the frame of its class: its payload is made only for who asks.
    """

    __slots__ = ("_payload", "args", "at_s", "frame", "handle", "mode", "push", "using")

    def __init__(
        self, at_s: float | None, using: str, mode: str | None, frame: Frame | None = None, args: tuple[Any, ...] = ()
    ) -> None:
        self._payload: dict[str, Any] | None = None
        self.args = args
        self.at_s = at_s
        self.frame = frame
        self.handle = EnqueuedJob("")
        self.mode = mode
        self.push: Push | None = None
        self.using = using

    @classmethod
    def of(cls, payload: dict[str, Any], at_s: float | None, using: str, mode: str | None) -> Request:
        """Return the request for a payload that is there."""
        request = cls(at_s, using, mode)
        request._payload = payload
        return request

    @property
    def payload(self) -> dict[str, Any]:
        """The job hash: once there is a text, what it says."""
        if self._payload is None:
            assert self.frame is not None
            self._payload = codec.loads(self.push[1]) if self.push else self.frame.payload(self.args)
        return self._payload

    @payload.setter
    def payload(self, payload: dict[str, Any]) -> None:
        self._payload = payload


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
