"""The pushes that wait for a COMMIT."""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass, field

from django.db import connections, transaction

from django_sidekick import signals
from django_sidekick.broker.broker import get_broker
from django_sidekick.conf import Settings, get_settings
from django_sidekick.exceptions import EnqueueError
from django_sidekick.jobs.handle import EnqueuedJob
from django_sidekick.jobs.request import Request
from django_sidekick.jobs.slices import push_in_slices

logger = logging.getLogger("sidekick")


def waits(using: str, mode: str | None, settings: Settings) -> bool:
    """Tell whether the push waits for a COMMIT. Asks nothing of a database that has no connection.

    Raise Django's own error, from on_commit, where autocommit is switched off: nobody knows which COMMIT is meant.
    """
    if (mode or settings.enqueue) == "immediately":
        return False
    connection = connections[using]
    if connection.in_atomic_block:
        return True
    is_open = connection.connection is not None
    if not (connection.autocommit if is_open else connection.settings_dict["AUTOCOMMIT"]):
        transaction.on_commit(_nothing, using=using)
    return False


def _nothing() -> None:
    """Be the hook that is never run."""


@dataclass(slots=True)
class _Commit:
    """What the hooks of one COMMIT share: the ENQUEUE_TIMEOUT that pushes which fail use up, and what failed.

    `left_s` is None until the first of them runs. A clock that went on beside them would count what the hooks of others
    take, and what many slices take that all arrive.
    """

    left_s: float | None = None
    calls: int = 0
    unpushed: list[str] = field(default_factory=list)
    error: Exception | None = None

    def end_call(self, number: int) -> None:
        """Raise what has failed, if this was the last call before the COMMIT."""
        if number == self.calls and self.error is not None:
            raise EnqueueError(
                f"Committed, but {len(self.unpushed)} jobs were not pushed: {self.error}", jids=self.unpushed
            ) from self.error


def push_after_commit(requests: list[Request], using: str) -> None:
    """Hang one hook on the COMMIT, so that a savepoint that is rolled back takes its own jobs with it.

    With ENQUEUE_ERRORS = "raise", a second one raises what all of them have met: Django drops the hooks behind one
    that raises, so only the last of ours may. It is made to outlive every savepoint, or nobody could raise.
    """
    connection = connections[using]
    commit = connection.__dict__.get("_sidekick_commit")
    if commit is None or commit.left_s is not None:
        commit = connection.__dict__["_sidekick_commit"] = _Commit()
    transaction.on_commit(lambda: _push_committed(requests, commit), using=using)
    if get_settings().enqueue_errors == "raise":
        commit.calls = number = commit.calls + 1
        transaction.on_commit(lambda: commit.end_call(number), using=using)
        savepoints, *_ = connection.run_on_commit[-1]
        savepoints.clear()


def _push_committed(requests: list[Request], commit: _Commit) -> None:
    requests = [request for request in requests if not request.handle.enqueued]
    if commit.left_s is None:
        commit.left_s = get_settings().enqueue_timeout_s
    began = time.monotonic()
    try:
        pushes, before = [request.push for request in requests if request.push], 0
        for pushed in push_in_slices(get_broker(), pushes, within_s=commit.left_s):
            for request in requests[before:pushed]:
                request.handle.enqueued = True
            before, began = pushed, time.monotonic()
    except Exception as error:  # noqa: BLE001 a hook that raises would stop the caller's later hooks
        commit.left_s -= time.monotonic() - began
        unpushed = [request for request in requests if not request.handle.enqueued]
        _report(unpushed, error)
        commit.unpushed += [request.handle.jid for request in unpushed]
        commit.error = commit.error or error


def _report(requests: list[Request], error: Exception) -> None:
    for request in requests:
        request.handle.enqueued, request.handle.error = False, error
    payloads = [request.payload for request in requests]
    texts = b", ".join(request.push[1] for request in requests if request.push)
    logger.error(
        "Committed, but %d jobs could not be pushed (%s): %s",
        len(requests),
        error,
        texts.decode(errors="replace"),
    )
    signals.enqueue_failed.send_robust(sender=EnqueuedJob, payloads=payloads, error=error)
