"""The verbs of a job class, with the signature of its own `perform`: descriptors, and the value of set()."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from typing import Any, Generic, NamedTuple, ParamSpec, Protocol, TypeVar, Unpack, overload

from asgiref.sync import sync_to_async

from django_sidekick.jobs.enqueue import enqueue
from django_sidekick.jobs.execute import perform_now
from django_sidekick.jobs.handle import EnqueuedJob
from django_sidekick.jobs.moments import moment_s
from django_sidekick.jobs.options import (
    CALL_OPTIONS,
    PAYLOAD_OPTIONS,
    Call,
    JobOptions,
    call_of,
    feature_options,
    field_of,
    mode_of,
    own_fields,
)
from django_sidekick.jobs.request import Request
from django_sidekick.wire import arguments
from django_sidekick.wire.frame import Frame, frame_of

P = ParamSpec("P")
R = TypeVar("R")
R_co = TypeVar("R_co", covariant=True)


class HasPerform(Protocol[P, R_co]):
    """A job class, as the type checker sees it."""

    def perform(self, *args: P.args, **kwargs: P.kwargs) -> R_co:
        """Do the work."""


class PerformLater:
    """`perform_later` with the signature of the class' own `perform`."""

    def __get__(self, instance: object, owner: Callable[[], HasPerform[P, Any]]) -> Callable[P, EnqueuedJob]:
        return with_defaults(owner).perform_later


class APerformLater:
    """`aperform_later`, the same for coroutines."""

    def __get__(self, instance: object, owner: Callable[[], HasPerform[P, Any]]) -> Callable[P, Awaitable[EnqueuedJob]]:
        return with_defaults(owner).aperform_later


class PerformNow:
    """`perform_now`: run here, through the same layers, and return what perform returns, awaited."""

    @overload
    def __get__(
        self, instance: object, owner: Callable[[], HasPerform[P, Coroutine[Any, Any, R]]]
    ) -> Callable[P, R]: ...

    @overload
    def __get__(self, instance: object, owner: Callable[[], HasPerform[P, R_co]]) -> Callable[P, R_co]: ...

    def __get__(self, instance: object, owner: Any) -> Any:
        return with_defaults(owner).perform_now


class Prepare:
    """`prepare`: a request for perform_all_later()."""

    def __get__(self, instance: object, owner: Callable[[], HasPerform[P, Any]]) -> Callable[P, Request]:
        return with_defaults(owner).prepare


class SetOptions:
    """`set(**options)`: the same verbs, with other options for this call."""

    def __get__(self, instance: object, owner: Callable[[], HasPerform[P, R_co]]) -> SetCall[P, R_co]:
        return SetCall(owner)


class SetCall(Generic[P, R_co]):
    """The `set` of one class."""

    def __init__(self, job_class: Callable[[], HasPerform[P, R_co]]) -> None:
        self._job_class = job_class

    def __call__(self, **options: Unpack[JobOptions]) -> Configured[P, R_co]:
        """Return the class with these options. Raise TypeError for one that no payload knows."""
        known = {*PAYLOAD_OPTIONS, *CALL_OPTIONS, *feature_options()}
        if unknown := set(options) - known:
            raise TypeError(
                f"set() does not know {', '.join(sorted(unknown))}; known are {', '.join(sorted(known))}. "
                "Payload fields of your own go into set(fields={…})."
            )
        return Configured(self._job_class, dict(options))


class Configured(Generic[P, R_co]):
    """A job class with the options of one call."""

    __slots__ = ("_job_class", "_options", "_recipe")

    def __init__(self, job_class: Callable[[], HasPerform[P, R_co]], options: Mapping[str, Any]) -> None:
        self._job_class: Any = job_class
        self._options = options
        self._recipe: Recipe | None = None

    def perform_later(self, *args: P.args, **kwargs: P.kwargs) -> EnqueuedJob:
        """Enqueue one run. See enqueue() for when it is pushed and what is raised."""
        return enqueue([self.prepare(*args, **kwargs)])[0]

    async def aperform_later(self, *args: P.args, **kwargs: P.kwargs) -> EnqueuedJob:
        """Enqueue one run from a coroutine; a transaction open in the sync thread counts."""
        return await sync_to_async(self.perform_later)(*args, **kwargs)

    @overload
    def perform_now(self: Configured[P, Coroutine[Any, Any, R]], *args: P.args, **kwargs: P.kwargs) -> R: ...

    @overload
    def perform_now(self, *args: P.args, **kwargs: P.kwargs) -> R_co: ...

    def perform_now(self, *args: P.args, **kwargs: P.kwargs) -> Any:
        """Run here and now, arguments through their JSON form; errors pass and nothing is retried.

        A coroutine is run to its end, on an event loop that this thread keeps; inside a running one that is a
        RuntimeError, which says what to do.
        """
        return perform_now(self._job_class, self.prepare(*args, **kwargs).payload)

    def prepare(self, *args: P.args, **kwargs: P.kwargs) -> Request:
        """Return a request for perform_all_later(). Raise TypeError for a call that perform() does not take."""
        recipe = self._recipe or self.recipe
        at_s = recipe.at_s() if recipe.is_timed else None
        if recipe.frame and not kwargs and len(args) in recipe.call.counts and arguments.is_plain(args):
            return Request(at_s, recipe.using, recipe.mode, recipe.frame, args)
        positional, names = recipe.call.bind(args, kwargs)
        payload = recipe.fields.copy()
        if recipe.queue_of is not None:
            payload["queue"] = field_of("queue", recipe.queue_of(*args, **kwargs))
        payload["args"], named, encoded = arguments.dump_call(positional, names)
        payload["class"] = recipe.name
        if named:
            payload["kwargs"] = named
        if encoded:
            payload["sk_encoded"] = True
        return Request.of(payload, at_s, recipe.using, recipe.mode)

    @property
    def recipe(self) -> Recipe:
        """What the options make of all calls. Raise ArgumentError for one that Ruby, or we, would misread."""
        if self._recipe is None:
            self._recipe = _recipe(self._job_class, self._options)
        return self._recipe


class Recipe(NamedTuple):
    """What all calls of one class with the same options have in common. `fields`: in Sidekiq's order.

    `frame` is None where not even their texts are alike.
    """

    name: str
    call: Call
    fields: dict[str, Any]
    frame: Frame | None
    queue_of: Callable[..., Any] | None
    wait: Any
    wait_until: Any
    is_timed: bool
    using: str
    mode: str | None

    def at_s(self) -> float | None:
        """Return when a call made now is due, epoch seconds; None for at once."""
        return moment_s(self.wait, self.wait_until, time.time())


def with_defaults(job_class: Any) -> Configured[..., Any]:
    """Return a class with its own options and none of a call: always the same one."""
    configured: Configured[..., Any] | None = job_class.__dict__.get("_sidekick_defaults")
    if configured is None:
        configured = job_class._sidekick_defaults = Configured(job_class, {})
    return configured


def _recipe(job_class: Any, options: Mapping[str, Any]) -> Recipe:
    fields = dict(_first_fields(job_class))
    queue = options.get("queue", job_class.queue_as)
    if not callable(queue):
        fields["queue"] = field_of("queue", queue)
    _apply(options, fields)
    return Recipe(
        job_class.name,
        _call_of(job_class),
        fields,
        None if callable(queue) else frame_of(fields, job_class.name),
        queue if callable(queue) else None,
        options.get("wait"),
        options.get("wait_until"),
        not (options.get("wait") is None and options.get("wait_until") is None),
        options.get("using", job_class.using),
        mode_of(options.get("enqueue")),
    )


def _call_of(job_class: Any) -> Call:
    """Return the shape of the class' perform(), looked at once. Raise TypeError if it has none."""
    call: Call | None = job_class.__dict__.get("_sidekick_call")
    if call is None:
        perform = getattr(job_class, "perform", None)
        if perform is None:
            raise TypeError(f"{job_class.__qualname__} has no perform(): it is abstract.")
        call = job_class._sidekick_call = call_of(perform)
    return call


def _first_fields(job_class: Any) -> dict[str, Any]:
    """Return what all payloads of the class begin with, in Sidekiq's order; made once."""
    fields: dict[str, Any] | None = job_class.__dict__.get("_sidekick_fields")
    if fields is None:
        fields = {"retry": field_of("retry", job_class.retry), "queue": "default"}
        defaults = {"retry_for": None, "retry_queue": None, "dead": True, "tags": (), "backtrace": False}
        for name, default in defaults.items():
            if (value := getattr(job_class, name)) != default:
                fields[name] = field_of(name, value)
        for name in feature_options():
            if (value := getattr(job_class, name, None)) is not None:
                fields[name] = field_of(name, value)
        job_class._sidekick_fields = fields
    return fields


def _apply(options: Mapping[str, Any], payload: dict[str, Any]) -> None:
    for name, value in options.items():
        if name == "fields":
            payload |= own_fields(value)
        elif name not in CALL_OPTIONS or name == "jid":
            payload[name] = field_of(name, value)
