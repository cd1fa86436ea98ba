"""Many jobs of one class: the same payloads that are made one by one, without an object for each."""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Sequence
from typing import Any

from django_sidekick.broker.broker import Push, get_broker
from django_sidekick.conf import Settings, get_settings
from django_sidekick.jobs.calls import Configured
from django_sidekick.jobs.commit import waits
from django_sidekick.jobs.enqueue import enqueue, push_many, raw_of
from django_sidekick.jobs.request import client_layers
from django_sidekick.wire import arguments
from django_sidekick.wire.frame import tail_of
from django_sidekick.wire.payload import new_jids, timestamp

Calls = Sequence[tuple[Any, ...]]


def enqueue_bulk(configured: Configured[..., Any], calls: Calls, moments_s: Sequence[float | None]) -> list[str]:
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
    """Return jids and pushes. Calls that are all plain, and due at once, are looked at and written together."""
    recipe, stamp = configured.recipe, timestamp(time.time(), settings.wire_times)
    jids, queue, frame, raws = new_jids(len(calls)), recipe.fields["queue"], recipe.frame, None
    are_whole = all(count in recipe.call.counts for count in set(map(len, calls)))
    if frame and are_whole and not any(moments_s) and arguments.is_plain(itertools.chain.from_iterable(calls)):
        raws = frame.texts(calls, jids, tail_of(stamp, is_scheduled=False))
    if raws is None or max(map(len, raws), default=0) > (settings.max_payload_bytes or math.inf):
        raws = [_raw(configured, *call, stamp) for call in zip(calls, jids, moments_s, strict=True)]
    return jids, list(zip(itertools.repeat(queue), raws, moments_s))


def _raw(
    configured: Configured[..., Any], args: tuple[Any, ...], jid: str, at_s: float | None, stamp: int | float
) -> bytes:
    """Return the text as it is made one by one; raise what is raised there."""
    payload = configured.prepare(*args).payload
    payload |= {"jid": jid, "created_at": stamp}
    if at_s is None:
        payload["enqueued_at"] = stamp
    return raw_of(payload, get_settings())
