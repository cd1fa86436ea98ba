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
from django_sidekick.jobs.options import field_of
from django_sidekick.middleware import Handler, compose, load_layers
from django_sidekick.wire.payload import new_jid, text_of, timestamp

logger = logging.getLogger("sidekick")

SLICE = 1000
LATEST_S = 1e11


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
    the handle says so. At most once: a job that was refused or not pushed is nowhere. A request is one job:
    one that has been pushed, or is there twice, raises ArgumentError; after an EnqueueError it may be passed again.
    """
    settings = get_settings()
    _refuse_repeated(requests)
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
    raw = text_of(payload)
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


def _refuse_repeated(requests: Sequence[Request]) -> None:
    seen: set[int] = set()
    for index, request in enumerate(requests):
        if not isinstance(request, Request):
            raise TypeError(f"requests[{index}] is {type(request).__name__}, no request: Job.prepare(…) makes one.")
        if id(request) in seen or request.handle.enqueued:
            raise ArgumentError(
                f"requests[{index}] has been passed before: each job needs a prepare() of its own.",
                path=f"requests[{index}]",
                value=request,
            )
        seen.add(id(request))


def _is_accepted(request: Request, settings: Settings) -> bool:
    """Finish the payload, run the client middleware, make the text. False if a layer refused the job."""
    payload, at_s, handle = request.payload, request.at_s, request.handle
    if not payload.get("jid"):
        payload["jid"] = new_jid()
    now_s = time.time()
    payload.setdefault("created_at", timestamp(now_s, settings.wire_times))
    handle.jid = payload["jid"]
    chain = _client_chain(settings)
    if chain is not _accept:
        if at_s is not None:
            payload["at"] = at_s
        answer = chain(payload)
        if answer is None:
            payload.pop("at", None)
            handle.enqueued = False
            return False
        at_s = _time_of_checked(answer, now_s)
        request.payload = payload = answer
        handle.jid = payload["jid"]
    if at_s is None:
        payload["enqueued_at"] = timestamp(now_s, settings.wire_times)
    else:
        payload.pop("enqueued_at", None)
    request.push = Push(payload["queue"], raw_of(payload, settings), at_s)
    return True


def _time_of_checked(answer: Any, now_s: float) -> float | None:
    """Take `at` out of what the layers returned, and return it if it is to come; refuse what is no payload."""
    if not isinstance(answer, dict):
        raise TypeError(
            f"A client middleware returned {answer!r:.100}: it must return what call_next() returned, a payload, "
            "or None to refuse the job."
        )
    get = answer.get
    if type(get("class")) is not str or type(get("args")) is not list:
        path = "args" if type(get("class")) is str else "class"
        raise ArgumentError(
            f"A client middleware returned a payload without a text `class` or a list of `args`: {path}.", path=path
        )
    field_of("queue", get("queue"))
    field_of("jid", get("jid"))
    at_s = answer.pop("at", None)
    if at_s is None:
        return None
    if isinstance(at_s, bool) or not isinstance(at_s, int | float) or not 0 <= at_s < LATEST_S:
        raise ArgumentError(f"at must be epoch seconds, not {at_s!r}.", path="at", value=at_s)
    return float(at_s) if at_s > now_s else None


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
    """Tell whether the push waits for a COMMIT. Asks nothing of a database that has no connection.

    Raise Django's own error, from on_commit, where autocommit is switched off: nobody knows which COMMIT is meant.
    """
    if (request.mode or settings.enqueue) == "immediately":
        return False
    connection = connections[request.using]
    if connection.in_atomic_block:
        return True
    is_open = connection.connection is not None
    if not (connection.autocommit if is_open else connection.settings_dict["AUTOCOMMIT"]):
        transaction.on_commit(_nothing, using=request.using)
    return False


def _nothing() -> None:
    """Be the hook that is never run."""


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


@dataclass(slots=True)
class _Commit:
    """What the hooks of one COMMIT share: one ENQUEUE_TIMEOUT, which the first of them starts, and what failed."""

    deadline: float | None = None
    calls: int = 0
    unpushed: list[str] = field(default_factory=list)
    error: Exception | None = None

    def end_call(self, number: int) -> None:
        """Raise what has failed, if this was the last call before the COMMIT."""
        if number == self.calls and self.error is not None:
            raise EnqueueError(
                f"Committed, but {len(self.unpushed)} jobs were not pushed: {self.error}", jids=self.unpushed
            ) from self.error


def _push_after_commit(requests: list[Request], using: str) -> None:
    """Hang one hook on the COMMIT, so that a savepoint that is rolled back takes its own jobs with it.

    With ENQUEUE_ERRORS = "raise", a second one raises what all of them have met: Django drops the hooks behind one
    that raises, so only the last of ours may. It is made to outlive every savepoint, or nobody could raise.
    """
    connection = connections[using]
    commit = connection.__dict__.get("_sidekick_commit")
    if commit is None or commit.deadline is not None:
        commit = connection.__dict__["_sidekick_commit"] = _Commit()
    transaction.on_commit(lambda: _push_committed(requests, commit), using=using)
    if get_settings().enqueue_errors == "raise":
        commit.calls = number = commit.calls + 1
        transaction.on_commit(lambda: commit.end_call(number), using=using)
        savepoints, *_ = connection.run_on_commit[-1]
        savepoints.clear()


def _push_committed(requests: list[Request], commit: _Commit) -> None:
    requests = [request for request in requests if not request.handle.enqueued]
    if commit.deadline is None:
        commit.deadline = time.monotonic() + get_settings().enqueue_timeout_s
    try:
        broker = get_broker()
        pushes = [request.push for request in requests if request.push]
        for first in range(0, len(pushes), SLICE):
            broker.push(pushes[first : first + SLICE], deadline=commit.deadline)
            for request in requests[first : first + SLICE]:
                request.handle.enqueued = True
    except Exception as error:  # noqa: BLE001 a hook that raises would stop the caller's later hooks
        unpushed = [request for request in requests if not request.handle.enqueued]
        _report(unpushed, error)
        commit.unpushed += [request.handle.jid for request in unpushed]
        commit.error = commit.error or error


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

