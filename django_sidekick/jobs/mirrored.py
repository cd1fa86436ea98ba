"""Which outcomes the mirror keeps: decided where they are made, so that nothing else costs anything. Pure."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any
from zlib import crc32

from django_sidekick.broker.broker import Push
from django_sidekick.conf import Settings
from django_sidekick.exceptions import MalformedPayload
from django_sidekick.jobs.registry import LEVEL_BY_CLASS, REDACT_BY_CLASS
from django_sidekick.wire import codec, event, ruby
from django_sidekick.wire.outcome import Outcome
from django_sidekick.wire.payload import as_text, parse

EventsOf = Callable[[str, Sequence[Outcome]], bytes]
"""Takes the worker's identity and what its jobs came to; returns the blob of events that goes with their acknowledgement."""


def is_mirrored(settings: Settings, classes: Mapping[str, type[Any]]) -> bool:
    """Tell whether anything is kept: by the settings, or by one of the classes."""
    return settings.history != "off" or any(level != "off" for level in _levels(classes).values())


def events_of(settings: Settings, classes: Mapping[str, type[Any]]) -> EventsOf | None:
    """Return what makes the blob of an acknowledgement; None if no event is ever made.

    `classes`: the job classes by name, all loaded by now.
    """
    if not is_mirrored(settings, classes):
        return None
    levels = _levels(classes)
    redact = {name: job_class.redact for name, job_class in classes.items() if job_class.redact}
    encode = partial(event.encode, redact=redact) if redact else event.encode
    if not levels and settings.history != "failures" and settings.history_sample >= 1:
        return encode

    def encode_some(worker: str, outcomes: Sequence[Outcome]) -> bytes:
        return encode(worker, [o for o in outcomes if o.payload and is_outcome_kept(o, settings, levels)])

    return encode_some


def push_events(settings: Settings, pushes: Sequence[Push], levels: Mapping[str, str] = LEVEL_BY_CLASS) -> list[bytes]:
    """Return the blobs that go with a push: of the jobs at level full. Nothing is looked at where there are none.

    `levels`: of the classes that have one of their own.
    """
    if settings.history != "full" and "full" not in levels.values():
        return []
    now: list[bytes] = []
    later: dict[bytes, float] = {}
    hidden: dict[bytes, Sequence[str]] = {}
    for _, raw, at_s in pushes:
        payload = codec.loads(raw)
        is_full = level_of(payload, settings, levels) == "full"
        if not is_full or not is_sampled(payload.get("jid"), settings.history_sample):
            continue
        if names := hidden_of(payload):
            hidden[raw] = names
        if at_s is None:
            now.append(raw)
        else:
            later[raw] = at_s
    now_s = time.time()
    blobs = [
        event.encode_moves("enqueued", now, now_s, redact=hidden),
        event.encode_moves("scheduled", list(later), now_s, list(later.values()), hidden),
    ]
    return [blob for blob in blobs if blob]


def is_move_kept(text: bytes, settings: Settings, levels: Mapping[str, str] = LEVEL_BY_CLASS) -> bool:
    """Tell whether the mirror keeps what a person does to a job: by the same rule as the job's success.

    Otherwise a row could say `enqueued` for ever, of a job whose end nobody tells of.
    """
    if settings.history == "off" and not levels:
        return False
    try:
        payload = parse(text)
    except MalformedPayload:
        return False
    return _is_payload_kept(payload, settings, levels)


def hidden_of(payload: Mapping[str, Any]) -> Sequence[str]:
    """Return what a job's class hides of its arguments, as far as this process knows it."""
    return REDACT_BY_CLASS.get(ruby.job_name(payload), ()) if REDACT_BY_CLASS else ()


def is_outcome_kept(outcome: Outcome, settings: Settings, levels: Mapping[str, str]) -> bool:
    """Tell by level and sample whether the mirror keeps it. A success after failures is kept wherever the failures were."""
    payload = outcome.payload or {}
    if outcome.error is not None:
        return level_of(payload, settings, levels) != "off"
    return _is_payload_kept(payload, settings, levels)


def _is_payload_kept(payload: Mapping[str, Any], settings: Settings, levels: Mapping[str, str]) -> bool:
    level = level_of(payload, settings, levels)
    if level == "off":
        return False
    if "retry_count" in payload:
        return True
    return level != "failures" and is_sampled(payload.get("jid"), settings.history_sample)


def level_of(payload: Mapping[str, Any], settings: Settings, levels: Mapping[str, str]) -> str:
    """Return the level of a job's class, by the name of what is inside Active Job's wrapper."""
    return levels.get(ruby.job_name(payload), settings.history) if levels else settings.history


def is_sampled(jid: object, share: float) -> bool:
    """Choose by jid, so that all events of a job are kept, or none."""
    return share >= 1 or crc32(as_text(jid).encode(errors="replace")) < share * 2**32


def _levels(classes: Mapping[str, type[Any]]) -> dict[str, str]:
    return {name: job_class.history for name, job_class in classes.items() if job_class.history is not None}
