"""Many jobs of one class: the same payloads that are made one by one, without an object for each."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from typing import Any

from django_sidekick.broker.broker import Push, get_broker, new_push
from django_sidekick.conf import Settings, get_settings
from django_sidekick.jobs.calls import Configured
from django_sidekick.jobs.commit import waits
from django_sidekick.jobs.enqueue import enqueue, push_many, raw_of
from django_sidekick.jobs.request import client_layers
from django_sidekick.wire import arguments, codec
from django_sidekick.wire.payload import new_jids, timestamp

Calls = Sequence[tuple[Any, ...]]


def enqueue_bulk(
    configured: Configured[..., Any], calls: Calls, moments_s: Sequence[float | None]
) -> list[str]:
    """Enqueue one job for each call, due at its moment; return their jids in that order.

    Pushed straight where nothing asks for single jobs: no middleware that they pass, no queue to be asked for,
    no COMMIT to wait for. Otherwise as enqueue() does it, and the same arrives.
    """
    recipe, settings = configured.recipe, get_settings()
    is_straight = recipe.queue_of is None and client_layers(settings).around(recipe.fields) is None
    if is_straight and not waits(recipe.using, recipe.mode, settings):
        jids, pushes = _made(configured, calls, moments_s, settings)
        push_many(get_broker(), pushes, jids)
        return jids
    requests = [configured.prepare(*call) for call in calls]
    for request, at_s in zip(requests, moments_s, strict=True):
        request.at_s = at_s
    return [handle.jid for handle in enqueue(requests)]


def _made(
    configured: Configured[..., Any], calls: Calls, moments_s: Sequence[float | None], settings: Settings
) -> tuple[list[str], list[Push]]:
    """Return jids and pushes. All texts of one recipe are the same but for arguments and jid."""
    recipe, stamp = configured.recipe, timestamp(time.time(), settings.wire_times)
    queue, call, is_plain, dumps = recipe.fields["queue"], recipe.call, arguments.is_plain, codec.dumps
    head = dumps(recipe.fields)[:-1] + b',"args":'
    middle = b',"class":' + dumps(recipe.name) + b',"jid":"'
    tail = b'","created_at":%b,"enqueued_at":%b}' % (dumps(stamp), dumps(stamp))
    most_bytes = settings.max_payload_bytes or math.inf
    all_fit = all(map(call.fits, set(map(len, calls))))
    jids, pushes = new_jids(len(calls)), []
    for jid, args, at_s in zip(jids, calls, moments_s, strict=True):
        raw = None
        if all_fit and at_s is None and is_plain(args):
            try:
                raw = b"".join((head, dumps(args), middle, jid.encode(), tail))
            except (TypeError, ValueError):  # said below, with its path
                pass
        if raw is None or len(raw) > most_bytes:
            raw = _raw(configured, args, jid, stamp, at_s)
        pushes.append(new_push((queue, raw, at_s)))
    return jids, pushes


def _raw(
    configured: Configured[..., Any], args: tuple[Any, ...], jid: str, stamp: int | float, at_s: float | None
) -> bytes:
    """Return the text as it is made one by one; raise what is raised there."""
    payload = configured.prepare(*args).payload
    payload |= {"jid": jid, "created_at": stamp}
    if at_s is None:
        payload["enqueued_at"] = stamp
    return raw_of(payload, get_settings())
