"""The way out: from a call of perform_later to a payload in Redis, at once or with the caller's COMMIT."""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Sequence
from typing import Any

from django_sidekick.broker.broker import Broker, Push, get_broker
from django_sidekick.conf import Settings, get_settings
from django_sidekick.exceptions import ArgumentError, BrokerUnavailable, EnqueueError
from django_sidekick.jobs.commit import push_after_commit, waits
from django_sidekick.jobs.handle import EnqueuedJob
from django_sidekick.jobs.options import field_of
from django_sidekick.jobs.request import ClientLayers, Request, client_layers
from django_sidekick.jobs.slices import push_in_slices
from django_sidekick.wire.frame import tail_of
from django_sidekick.wire.payload import new_jids, text_of, timestamp

LATEST_S = 1e11


def enqueue(requests: Sequence[Request]) -> list[EnqueuedJob]:
    """Push the jobs now, or right after the COMMIT of the transaction that is open on their database.

    All texts are made first: an argument that cannot be held raises ArgumentError and nothing is pushed.
    Outside a transaction, Redis away beyond ENQUEUE_TIMEOUT raises EnqueueError, which names all jobs that are not
    pushed: those too that would have waited for a COMMIT. After a COMMIT nothing is
    raised (unless ENQUEUE_ERRORS = "raise"): one ERROR with the payloads, the signal `enqueue_failed`, and
    the handle says so. At most once: a job that was refused or not pushed is nowhere. A request is one job:
    one that has been pushed, or is there twice, raises ArgumentError; after an EnqueueError it may be passed again.
    """
    settings = get_settings()
    _refuse_repeated(requests)
    now, groups = _by_commit(_accepted(requests, settings), settings)
    if now:
        _push_now(now, [request for jobs in groups.values() for request in jobs])
    for using, jobs in groups.items():
        push_after_commit(jobs, using)
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
    """Push in slices. Raise EnqueueError naming the jobs that were not pushed."""
    pushed = 0
    try:
        for so_far in push_in_slices(broker, pushes):
            pushed = so_far
    except BrokerUnavailable as error:
        missing = tuple(jids)[pushed:]
        raise EnqueueError(f"{len(missing)} jobs were not pushed: {error}", jids=missing) from error


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


def _accepted(requests: Sequence[Request], settings: Settings) -> list[Request]:
    """Finish all payloads and make their texts. Return the requests that no layer refused."""
    layers, jids, now_s = client_layers(settings), new_jids(len(requests)), time.time()
    stamp, most_bytes = timestamp(now_s, settings.wire_times), settings.max_payload_bytes or math.inf
    tails = [tail_of(stamp, is_scheduled=is_scheduled) for is_scheduled in (False, True)]
    accepted, known, is_free = [], None, False  # is_free: no layer stands around the payloads of this frame
    for request, jid in zip(requests, jids, strict=True):
        frame, at_s = request.frame, request.at_s
        if frame is not known:
            known, is_free = frame, frame is not None and layers.around(frame.fields) is None
        if frame is not None and is_free and request.push is None:
            raw = frame.text(request.args, jid, tails[at_s is not None])
            if raw is not None and len(raw) <= most_bytes:
                request.handle.jid = jid
                request.push = frame.queue, raw, at_s
                accepted.append(request)
                continue
        if _finish(request, jid, stamp, layers):
            payload = request.payload
            request.push = payload["queue"], raw_of(payload, settings), request.at_s
            accepted.append(request)
    return accepted


def _finish(request: Request, jid: str, stamp: int | float, layers: ClientLayers) -> bool:
    """Finish the payload, and run the client middleware. Return False if a layer refused the job."""
    payload, at_s, handle = request.payload, request.at_s, request.handle
    if not payload.get("jid"):
        payload["jid"] = jid
    if "created_at" not in payload:
        payload["created_at"] = stamp
    handle.jid = payload["jid"]
    if chain := layers.around(payload):
        if at_s is not None:
            payload["at"] = at_s
        answer = chain(payload)
        if answer is None:
            payload.pop("at", None)
            handle.enqueued = False
            return False
        request.at_s = at_s = _time_of_checked(answer, time.time())
        request.payload = payload = answer
        handle.jid = payload["jid"]
    if at_s is None:
        payload["enqueued_at"] = stamp
    else:
        payload.pop("enqueued_at", None)
    return True


def _by_commit(requests: Sequence[Request], settings: Settings) -> tuple[list[Request], dict[str, list[Request]]]:
    """Return those that wait for no COMMIT, and the others by the database whose COMMIT they wait for."""
    now: list[Request] = []
    groups: dict[str, list[Request]] = {}
    known: dict[tuple[str, str | None], list[Request]] = {}
    for request in requests:
        group = known.get((request.using, request.mode))
        if group is None:
            must_wait = waits(request.using, request.mode, settings)
            group = groups.setdefault(request.using, []) if must_wait else now
            known[request.using, request.mode] = group
        group.append(request)
    return now, groups


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


def _push_now(requests: Sequence[Request], others: Sequence[Request]) -> None:
    """Push. If that fails, `others` are not pushed either: they would have waited for a COMMIT."""
    every = [*requests, *others]
    try:
        pushes = [request.push for request in requests if request.push]
        push_many(get_broker(), pushes, [request.handle.jid for request in every])
    except EnqueueError as error:
        missing = set(error.jids)
        for request in every:
            if request.handle.jid in missing:
                request.handle.enqueued, request.handle.error = False, error
            else:
                request.handle.enqueued = True
        raise
    for request in requests:
        request.handle.enqueued = True
