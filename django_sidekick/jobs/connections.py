"""The database connections that jobs have opened: kept from one job to the next, and none that is of no use any more."""

from __future__ import annotations

import math
import threading
import time
from typing import Any

from asgiref.sync import sync_to_async
from django.db import Error
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.signals import connection_created

IDLE_S = 1.0
"""A thread without a job for so long asks the server once whether its connection still stands."""


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
    """Keep each thread's database connections between jobs, and none that is broken, old, mid-transaction or without autocommit.

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

    def check_before(self) -> None:
        """Before a job: if one is too old, or this thread was idle, close what the job could not use any more."""
        if time.monotonic() >= self._here.opened.look_at:
            self.check_after(was_idle=True)

    def check_after(self, *, was_idle: bool = False) -> None:
        """Close what the last job of this thread has broken, left mid-transaction, or what is too old.

        If the thread `was_idle`, what the server has cut meanwhile too.
        """
        opened, now = self._here.opened, time.monotonic()
        for alias, (connection, since) in list(opened.items()):
            if connection.connection is None:
                self._forget(alias)
            elif self._is_to_be_closed(connection, now - since) or (was_idle and not connection.is_usable()):
                _close(connection)
                self._forget(alias)
        opened.looked(now)

    async def acheck_before(self) -> None:
        """As check_before(), in Django's thread for synchronous code; go there only if need be."""
        opened = self._opened_for_coroutines
        if opened is not None and time.monotonic() >= opened.look_at:
            await sync_to_async(self.check_before)()

    async def acheck_after(self) -> None:
        """As check_after(), in Django's thread for synchronous code; go there only if need be."""
        if self._opened_for_coroutines is None:
            self._opened_for_coroutines = await sync_to_async(lambda: self._here.opened)()
        if self._is_any_due(self._opened_for_coroutines):
            await sync_to_async(self.check_after)()
        else:
            self._opened_for_coroutines.looked(time.monotonic())

    def _is_any_due(self, opened: Opened) -> bool:
        """Tell whether check_after(), in the thread whose `opened` this is, has anything to do. Asks no server."""
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
        # Left so, what the next job writes would be rolled back.
        if connection.autocommit != connection.settings_dict["AUTOCOMMIT"]:
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


def _close(connection: BaseDatabaseWrapper) -> None:
    """Close a connection whatever its state; an open transaction is rolled back by the server."""
    try:
        connection.in_atomic_block = False
        connection.needs_rollback = False
        connection.savepoint_ids = []
        connection.run_on_commit = []
        connection.close()
    except Error:
        connection.connection = None
