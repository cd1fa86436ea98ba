"""The onion around jobs: composed once, outermost layer first; and the layers that are built in."""

from __future__ import annotations

import logging
import math
import threading
import time
from collections.abc import Callable, Iterable
from contextvars import ContextVar
from typing import Any, cast

from asgiref.sync import sync_to_async
from django.db import Error
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.signals import connection_created

from django_sidekick.exceptions import ConfigurationError
from django_sidekick.feature import Layer
from django_sidekick.loading import load_path

Handler = Callable[[Any], Any]

IDLE_S = 1.0
"""A thread without a job for so long asks the server once whether its connection still stands."""


def compose(layers: Iterable[Layer], innermost: Handler) -> Handler:
    """Return the onion: each layer is called once, with the next handler, and returns its own.

    Without layers, the innermost handler itself. What a layer raises is the job's failure, never its loss.
    Raise ConfigurationError for a layer that cannot be called with a handler, or returns none.
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
    return cast("Handler", around)


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


class Opened(dict[str, tuple[BaseDatabaseWrapper, float]]):
    """What one thread has opened: by alias, the connection and since when, time.monotonic()."""

    old_at = math.inf
    """When the first of them is too old, time.monotonic()."""

    look_at = math.inf
    """From when on a job must look at them before it begins: one is too old, or the thread was idle."""

    def looked(self, now: float) -> None:
        """Set when to look again."""
        idle_at = now + IDLE_S
        self.look_at = idle_at if idle_at < self.old_at else self.old_at


class _Here(threading.local):
    def __init__(self) -> None:
        self.opened = Opened()


class DatabaseConnections:
    """Keep each thread's database connections between jobs, and none that is broken, old or mid-transaction.

    Cheaper than close_old_connections() twice a job: Django tells when a thread opens a connection, so a job
    without one costs a look at a flag, and one with one a look at the clock. After an idle spell the server is
    asked once, for it may have cut the connection meanwhile: no job fails by that.
    """

    def __init__(self, max_age_s: float | None) -> None:
        self.opened_any = False
        """Whether a job's thread has ever opened a connection: until then there is nothing to look after."""
        self._max_age_s = max_age_s
        self._here = _Here()
        self._opened_for_coroutines: Opened | None = None
        connection_created.connect(self._note, dispatch_uid=id(self))

    def look_before(self) -> None:
        """Before a job: if one is too old, or this thread was idle, close what the job could not use any more."""
        if time.monotonic() >= self._here.opened.look_at:
            self.look_after(was_idle=True)

    def look_after(self, *, was_idle: bool = False) -> None:
        """Close what the last job of this thread has broken, left mid-transaction, or what is too old.

        If the thread `was_idle`, what the server has cut meanwhile too.
        """
        opened, now = self._here.opened, time.monotonic()
        for alias, (connection, since) in list(opened.items()):
            if connection.connection is None:
                self._forget(alias)
            elif self._is_to_be_closed(connection, now - since) or (was_idle and not connection.is_usable()):
                close(connection)
                self._forget(alias)
        opened.looked(now)

    async def alook_before(self) -> None:
        """As look_before(), in Django's thread for synchronous code; go there only if need be."""
        opened = self._opened_for_coroutines
        if opened is not None and time.monotonic() >= opened.look_at:
            await sync_to_async(self.look_before)()

    async def alook_after(self) -> None:
        """As look_after(), in Django's thread for synchronous code; go there only if need be."""
        if self._opened_for_coroutines is None:
            self._opened_for_coroutines = await sync_to_async(lambda: self._here.opened)()
        if self._is_any_due(self._opened_for_coroutines):
            await sync_to_async(self.look_after)()
        else:
            self._opened_for_coroutines.looked(time.monotonic())

    def _is_any_due(self, opened: Opened) -> bool:
        """Tell whether look_after(), in the thread whose `opened` this is, has anything to do. Asks no server."""
        now = time.monotonic()
        return any(
            connection.connection is None
            or connection.errors_occurred
            or self._is_to_be_closed(connection, now - since)
            for connection, since in list(opened.values())
        )

    def _forget(self, alias: str) -> None:
        opened = self._here.opened
        del opened[alias]
        opened.old_at = min([self._old_at(*entry) for entry in opened.values()], default=math.inf)

    def _note(self, connection: BaseDatabaseWrapper, **_: Any) -> None:
        opened, entry = self._here.opened, (connection, time.monotonic())
        opened[connection.alias] = entry
        opened.old_at = min(opened.old_at, self._old_at(*entry))
        self.opened_any = True

    def _is_to_be_closed(self, connection: BaseDatabaseWrapper, age_s: float) -> bool:
        if connection.in_atomic_block or connection.needs_rollback:
            return True
        if connection.errors_occurred:
            if not connection.is_usable():
                return True
            connection.errors_occurred = False
        if self._max_age_s is None:
            return connection.close_at is not None and time.monotonic() >= connection.close_at
        return age_s >= self._max_age_s

    def _old_at(self, connection: BaseDatabaseWrapper, since: float) -> float:
        if self._max_age_s is None:
            return math.inf if connection.close_at is None else connection.close_at
        return since + self._max_age_s


def close(connection: BaseDatabaseWrapper) -> None:
    """Close a connection whatever its state; an open transaction is rolled back by the server."""
    try:
        connection.in_atomic_block = False
        connection.needs_rollback = False
        connection.savepoint_ids = []
        connection.run_on_commit = []
        connection.close()
    except Error:
        connection.connection = None


current_job: ContextVar[Any] = ContextVar("django_sidekick_job", default=None)
"""The job that this thread, or this task of the event loop, is in; None outside."""


class JobContext(logging.Filter):
    """Give every `logging` record made inside a job the job's jid and class, as `record.jid` and `record.job`."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Add the fields; empty outside a job."""
        job = current_job.get()
        record.jid = job.jid if job is not None else ""
        record.job = job.name if job is not None else ""
        return True

    def install(self) -> None:
        """Make every record of this process carry the fields, whichever logger and handler it goes through."""
        make = logging.getLogRecordFactory()

        def made(*args: Any, **kwargs: Any) -> logging.LogRecord:
            record = make(*args, **kwargs)
            self.filter(record)
            return record

        logging.setLogRecordFactory(made)
