"""The way out: from a call of perform_later to a payload in Redis, at once or with the caller's COMMIT."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from django.db import connections, transaction

from django_sidekick import signals
from django_sidekick.broker.broker import Broker, Push, get_broker
from django_sidekick.conf import Settings, get_settings
from django_sidekick.exceptions import ArgumentError, BrokerUnavailable, EnqueueError
from django_sidekick.feature import load_features
from django_sidekick.jobs.handle import EnqueuedJob
from django_sidekick.middleware import Handler, compose, load_layers
from django_sidekick.wire import codec, long_numbers
from django_sidekick.wire.payload import new_jid, timestamp

logger = logging.getLogger("sidekick")

SLICE = 1000
DURABLE_REFUSED = "enqueue='durable' needs the outbox, which this version does not have yet: use 'on_commit'."


@dataclass(slots=True)
class Request:
    """One job to be pushed: the payload without its last fields, when it is due, and whose COMMIT it waits for."""

    payload: dict[str, Any]
    at_s: float | None = None
    using: str = "default"
    mode: str | None = None
    push: Push | None = field(default=None)
    handle: EnqueuedJob = field(default_factory=lambda: EnqueuedJob(""))


def enqueue(requests: Sequence[Request]) -> list[EnqueuedJob]:
    """Push the jobs now, or right after the COMMIT of the transaction that is open on their database.

    All texts are made first: an argument that cannot be held raises ArgumentError and nothing is pushed.
    Outside a transaction, Redis away beyond ENQUEUE_TIMEOUT raises EnqueueError. After a COMMIT nothing is
    raised (unless ENQUEUE_ERRORS = "raise"): one ERROR with the payloads, the signal `enqueue_failed`, and
    the handle says so. At most once: a job that was refused or not pushed is nowhere.
    """
    settings = get_settings()
    accepted = [request for request in requests if _is_accepted(request, settings)]
    now: list[Request] = []
    waiting: dict[str, list[Request]] = {}
    for request in accepted:
        if _waits(request, settings):
            waiting.setdefault(request.using, []).append(request)
        else:
            now.append(request)
    for using, jobs in waiting.items():
        _push_after_commit(jobs, using)
    if now:
        _push_now(now)
    return [request.handle for request in requests]


def raw_of(payload: dict[str, Any], settings: Settings) -> bytes:
    """Return the text of a payload. Raise ArgumentError if it is larger than MAX_PAYLOAD_BYTES."""
    try:
        raw = codec.dumps(payload)
    except (TypeError, ValueError) as error:
        path = long_numbers.path_to_too_long(payload)
        raise ArgumentError(
            f"{path or 'The payload'} cannot be written as JSON: {error}", path=path
        ) from error
    if settings.max_payload_bytes is not None and len(raw) > settings.max_payload_bytes:
        raise ArgumentError(
            f"The payload has {len(raw)} bytes; SIDEKICK['MAX_PAYLOAD_BYTES'] allows "
            f"{settings.max_payload_bytes}. Pass a reference in place of the content.",
            path="args",
        )
    return raw


def push_many(broker: Broker, pushes: Sequence[Push], jids: Iterable[str]) -> None:
    """Push in slices of 1,000, one round trip each. Raise EnqueueError naming the jobs that were not pushed."""
    for first in range(0, len(pushes), SLICE):
        try:
            broker.push(pushes[first : first + SLICE])
        except BrokerUnavailable as error:
            missing = tuple(jids)[first:]
            raise EnqueueError(
                f"{len(missing)} jobs were not pushed: {error}", jids=missing
            ) from error


def _is_accepted(request: Request, settings: Settings) -> bool:
    """Finish the payload, run the client middleware, make the text. False if a layer refused the job."""
    payload, at_s = request.payload, request.at_s
    if not payload.get("jid"):
        payload["jid"] = new_jid()
    now_s = time.time()
    payload.setdefault("created_at", timestamp(now_s, settings.wire_times))
    request.handle.jid = payload["jid"]
    chain = _client_chain(settings)
    if chain is not _accept:
        if at_s is not None:
            payload["at"] = at_s
        answer = chain(payload)
        payload.pop("at", None)
        if answer is None:
            request.handle.enqueued = False
            return False
    if at_s is None:
        payload["enqueued_at"] = timestamp(now_s, settings.wire_times)
    request.push = Push(payload["queue"], raw_of(payload, settings), at_s)
    return True


def _accept(payload: dict[str, Any]) -> dict[str, Any]:
    return payload


@cache
def _client_chain(settings: Settings) -> Handler:
    """The onion, composed once: the project's layers outside, the features' inside."""
    layers = load_layers(settings.client_middleware, "CLIENT_MIDDLEWARE")
    for feature in load_features(settings):
        layers += feature.client_middleware
    return compose(layers, _accept)


def _waits(request: Request, settings: Settings) -> bool:
    """Tell whether the push waits for a COMMIT. Asks nothing of a database that has no connection."""
    mode = request.mode or settings.enqueue
    if mode == "durable":
        raise ArgumentError(DURABLE_REFUSED, path="enqueue", value=mode)
    if mode == "immediately":
        return False
    connection = connections[request.using]
    if connection.in_atomic_block:
        return True
    return connection.connection is not None and not connection.autocommit


def _push_now(requests: Sequence[Request]) -> None:
    pushes = [request.push for request in requests if request.push]
    try:
        push_many(get_broker(), pushes, [request.handle.jid for request in requests])
    except EnqueueError as error:
        for request in requests:
            if request.handle.jid in error.jids:
                request.handle.enqueued, request.handle.error = False, error
            else:
                request.handle.enqueued = True
        raise
    for request in requests:
        request.handle.enqueued = True


def _push_after_commit(requests: list[Request], using: str) -> None:
    """Django's own error comes from on_commit if autocommit was switched off by hand."""
    connection = connections[using]
    commit = connection.__dict__.get("_sidekick_commit")
    if commit is None or commit.deadline is not None:
        commit = connection.__dict__["_sidekick_commit"] = _SharedTime()
    transaction.on_commit(lambda: _push_committed(requests, commit), using=using)


@dataclass(slots=True)
class _SharedTime:
    """The pushes of one COMMIT share one ENQUEUE_TIMEOUT; the first of them starts the clock."""

    deadline: float | None = None


def _push_committed(requests: list[Request], commit: _SharedTime) -> None:
    settings, broker = get_settings(), get_broker()
    if commit.deadline is None:
        commit.deadline = time.monotonic() + settings.enqueue_timeout_s
    pushes = [request.push for request in requests if request.push]
    try:
        for first in range(0, len(pushes), SLICE):
            broker.push(pushes[first : first + SLICE], deadline=commit.deadline)
            for request in requests[first : first + SLICE]:
                request.handle.enqueued = True
    except Exception as error:  # noqa: BLE001 a hook that raises would stop the caller's later hooks
        _report([request for request in requests if not request.handle.enqueued], error)
        if settings.enqueue_errors == "raise":
            raise EnqueueError(
                f"Committed, but not pushed: {error}", jids=[r.handle.jid for r in requests]
            ) from error


def _report(requests: list[Request], error: Exception) -> None:
    for request in requests:
        request.handle.enqueued, request.handle.error = False, error
    payloads = [request.payload for request in requests]
    texts = b", ".join(request.push.raw for request in requests if request.push)
    logger.error(
        "Committed, but %d jobs could not be pushed (%s): %s",
        len(requests),
        error,
        texts.decode(errors="replace"),
    )
    signals.enqueue_failed.send_robust(sender=EnqueuedJob, payloads=payloads, error=error)

