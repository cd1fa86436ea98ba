"""The onion around jobs and pushes: composed once, outermost layer first."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable
from typing import Any, cast

from asgiref.sync import iscoroutinefunction

from django_sidekick.exceptions import ConfigurationError
from django_sidekick.feature import Layer
from django_sidekick.loading import load_path

Handler = Callable[[Any], Any]


def compose(layers: Iterable[Layer], innermost: Handler) -> Handler:
    """Return the onion: each layer is called once, with the next handler, and returns its own.

    Without layers, the innermost handler itself. What a layer raises is the job's failure, never its loss.
    Raise ConfigurationError for a layer that cannot be called with a handler, or returns none, or one that nobody would await.
    """
    handler = innermost
    for layer in reversed(list(layers)):
        handler = _around(handler, layer)
    return handler


def _around(handler: Handler, layer: Layer) -> Handler:
    name = f"{getattr(layer, '__module__', '')}.{getattr(layer, '__qualname__', repr(layer))}"
    try:
        around: Any = layer(handler)
    except TypeError as error:
        raise ConfigurationError(f"The middleware {name} cannot be called with the next handler: {error}") from error
    if not callable(around):
        raise ConfigurationError(f"The middleware {name} must return a handler, not {around!r:.100}.")
    if _only_makes_something(around, may_await=iscoroutinefunction(handler)):
        raise ConfigurationError(
            f"The middleware {name} returns a coroutine function or a generator around a plain function: nobody would run "
            "it, nor the job inside. One that serves both is marked with sync_and_async_middleware, and fits call_next."
        )
    return cast("Handler", around)


def _only_makes_something(function: Any, *, may_await: bool) -> bool:
    """Tell whether a call does nothing but return what is still to be run, while the caller takes it for the result."""
    for one in (function, getattr(function, "__call__", None)):  # noqa: B004 of an instance, what its class says
        if (
            inspect.isgeneratorfunction(one)
            or inspect.isasyncgenfunction(one)
            or (iscoroutinefunction(one) and not may_await)
        ):
            return True
    return False


def can_await(layers: Iterable[Layer]) -> bool:
    """Tell whether all layers may stand around a coroutine function.

    They say so as Django's own middleware does: `django.utils.decorators.sync_and_async_middleware`, and a
    handler made to fit what `asgiref.sync.iscoroutinefunction(call_next)` says.
    """
    return all(getattr(layer, "async_capable", False) for layer in layers)


def load_layers(paths: Iterable[str], setting: str) -> list[Layer]:
    """Return the layers of dotted paths. Raise ConfigurationError naming setting and path."""
    layers: list[Layer] = []
    for path in paths:
        layer = load_path(path, setting)
        if not callable(layer):
            raise ConfigurationError(f"SIDEKICK[{setting!r}] names {path!r}, which cannot be called.")
        layers.append(layer)
    return layers
