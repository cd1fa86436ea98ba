"""What became of jobs, as it travels in the stream of events: one blob for each acknowledgement. Pure.

    number of events, a line break
    a JSON text: [worker, [[kind, bytes, started, took], [kind, bytes, started, took, due, error, redact], …]], a line break
    the payloads' texts as they are, so many bytes each, a comma between them

A payload is neither decoded nor written again on the way in. On the way out all are read at once, as the JSON array that
they nearly are; one that cannot be read spoils no other, for then each is read by itself.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from types import MappingProxyType
from typing import Any, NamedTuple, TypeAlias

from django_sidekick.wire import codec, ruby
from django_sidekick.wire.outcome import Outcome
from django_sidekick.wire.payload import error_backtrace, error_message, scrub

OUTCOMES = frozenset({"done", "retry", "dead", "failed", "discarded"})
MOVES = frozenset({"enqueued", "scheduled", "retry", "dead", "discarded"})

LATEST_S = 1e11

OnJunk = Callable[[str], None]
Redact: TypeAlias = Mapping[str, Sequence[str]]
"""By the name of a class: the parameters, and keys inside of arguments, whose values the mirror does not keep."""

NOTHING_HIDDEN: Mapping[Any, Sequence[str]] = MappingProxyType({})


class Event(NamedTuple):
    """One thing that happened to one job, at `at_s`, epoch seconds.

    An outcome: `worker` ran it from `started_at_s` on, `duration_s` long; `due_at_s` is when a retry comes.
    A move: somebody has pushed, revived, killed or deleted it; `worker` is "" and `started_at_s` None.
    `payload` is the job as it was then: of a failed run, as it was before the run. It has a class, args and a jid,
    a text of at least one character; nothing else is known of it. `error`: class, message, backtrace.
    `redact`: what its class hides of the arguments, as those knew it who told of the event: the recorder may not.
    """

    kind: str
    at_s: float
    payload: dict[str, Any]
    worker: str = ""
    started_at_s: float | None = None
    duration_s: float = 0.0
    due_at_s: float | None = None
    error: tuple[str, str, str] | None = None
    redact: tuple[str, ...] = ()


_new_event: Callable[[tuple[Any, ...]], Event] = partial(tuple.__new__, Event)
"""Event's own __new__ takes three times as long: once a job."""


def encode(worker: str, outcomes: Sequence[Outcome], redact: Redact = NOTHING_HIDDEN) -> bytes:
    """Return the blob of what a worker's jobs came to; b"" if none of them has an event.

    What ran and was a job has one: what was released, or is malformed, has none.
    """
    entries: list[list[Any]] = []
    texts: list[bytes] = []
    for kind, delivery, payload, started_at_s, duration_s, error, _, at_s, _ in outcomes:
        if payload is None or kind == "released":
            continue
        text = delivery[2]
        texts.append(text)
        hidden = redact.get(ruby.job_name(payload)) if redact else None
        if error is None and not hidden:
            entries.append([kind, len(text), started_at_s, duration_s])
            continue
        due_at_s = at_s if kind == "retry" else None
        entries.append([kind, len(text), started_at_s, duration_s, due_at_s, _said(error), list(hidden or ())])
    return _blob(worker, entries, texts)


def encode_moves(
    kind: str,
    texts: Sequence[bytes],
    at_s: float,
    due_at_s: float | Sequence[float] | None = None,
    redact: Mapping[bytes, Sequence[str]] = NOTHING_HIDDEN,
) -> bytes:
    """Return the blob of jobs that no worker ran: enqueued, scheduled or to be retried (at `due_at_s`), dead or discarded.

    `due_at_s` is one moment for all, or one for each. `redact`: what is hidden of those texts of which something is.
    """
    dues = due_at_s if isinstance(due_at_s, Sequence) else [due_at_s] * len(texts)
    entries: list[list[Any]] = [[kind, len(t), None, at_s, due] for t, due in zip(texts, dues, strict=True)]
    for entry, text in zip(entries, texts, strict=True) if redact else ():
        entry += [None, list(redact[text])] if text in redact else []
    return _blob("", entries, texts)


def decode(blob: bytes, on_junk: OnJunk = lambda reason: None) -> list[Event]:
    """Return the events of a blob in their order. Never raise: `on_junk` is told why something is none."""
    try:
        _, head, texts = blob.split(b"\n", 2)
        worker, entries = codec.loads(head)
        if type(worker) is not str or type(entries) is not list:
            raise TypeError("a head of another shape")
    except (ValueError, TypeError) as error:
        on_junk(f"no blob of events: {error}")
        return []
    try:
        return _all_at_once(worker, entries, codec.loads(b"[%b]" % texts))
    except (ValueError, TypeError, LookupError, OverflowError):
        return _one_by_one(worker, entries, texts, on_junk)


def _all_at_once(worker: str, entries: list[Any], payloads: list[Any]) -> list[Event]:
    """Return the events, in the shortest way for those without an error: nearly all. Raise if one is none."""
    events = []
    for entry, payload in zip(entries, payloads, strict=True):
        jid = payload["jid"]
        if not (type(jid) is str and jid and type(payload["class"]) is str and type(payload["args"]) is list):
            raise ValueError("no job")
        if len(entry) != 4 or entry[2] is None:
            events.append(_event(worker, entry, payload))
            continue
        kind, size, started_at_s, took_s = entry
        at_s = started_at_s + took_s
        if kind not in OUTCOMES or size < 0 or not 0 <= at_s < LATEST_S:
            raise ValueError("an entry of another kind")
        events.append(_new_event((kind, at_s, payload, worker, started_at_s, took_s, None, None, ())))
    return events


def _one_by_one(worker: str, entries: list[Any], texts: bytes, on_junk: OnJunk) -> list[Event]:
    events: list[Event] = []
    at = 0
    for entry in entries:
        if not _has_length(entry):
            on_junk("an entry of another shape: what follows it cannot be found")
            break
        text = texts[at : at + entry[1]]
        at += entry[1] + 1
        try:
            events.append(_event(worker, entry, _job_of(codec.loads(text))))
        except (ValueError, TypeError, OverflowError) as error:
            on_junk(str(error))
    return events


def count_of(blob: bytes) -> int:
    """Return how many events a blob says that it holds; 0 for what is none."""
    digits = blob[:12].partition(b"\n")[0]
    return int(digits) if digits.isdigit() else 0


def _said(error: BaseException | None) -> list[str] | None:
    return None if error is None else [scrub(type(error).__name__), error_message(error), error_backtrace(error)]


def _blob(worker: str, entries: list[list[Any]], texts: Sequence[bytes]) -> bytes:
    if not entries:
        return b""
    return b"%d\n%b\n%b" % (len(entries), codec.dumps([worker, entries]), b",".join(texts))


def _has_length(entry: Any) -> bool:
    return type(entry) is list and len(entry) > 3 and type(entry[1]) is int and entry[1] >= 0


def _job_of(payload: Any) -> dict[str, Any]:
    if type(payload) is not dict or type(payload.get("class")) is not str or type(payload.get("args")) is not list:
        raise ValueError("no job")
    if type(jid := payload.get("jid")) is not str or not jid:
        raise ValueError("a job without a jid that is a text")
    return payload


def _event(worker: str, entry: list[Any], payload: dict[str, Any]) -> Event:
    kind, started_at_s, took_s = entry[0], entry[2], entry[3]
    is_move = started_at_s is None
    if kind not in (MOVES if is_move else OUTCOMES):
        raise ValueError(f"a kind that nobody knows: {kind!r:.50}")
    rest = _rest(*entry[4:7])
    if is_move:
        return _new_event((kind, _moment(took_s), payload, "", None, 0.0, *rest))
    at_s = _moment(started_at_s + took_s)
    return _new_event((kind, at_s, payload, worker, started_at_s, took_s, *rest))


def _rest(due_at_s: Any = None, said: Any = None, redact: Any = ()) -> tuple[Any, ...]:
    """Return the last three of an event: when it is due, the error, what is to be hidden."""
    if due_at_s is not None:
        due_at_s = _moment(due_at_s)
    if said is not None:
        name, message, backtrace = (str(text) for text in said)
        said = name, message, backtrace
    return due_at_s, said, tuple(str(name) for name in redact)


def _moment(value: Any) -> float:
    """Refuse what no calendar holds."""
    if type(value) in (float, int) and 0 <= value < LATEST_S:
        return float(value)
    raise ValueError(f"no moment: {value!r:.50}")
