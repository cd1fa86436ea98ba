"""From events to rows: what a batch of events makes of each job, one row a job however many events. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import lru_cache
from typing import Any, NamedTuple

from django_sidekick.history.arguments import UNFIT, Arguments, text
from django_sidekick.wire.event import Event
from django_sidekick.wire.payload import read_time_s

COLUMNS = (
    "jid", "job_class", "queue", "state", "args", "kwargs", "tags", "created_at", "enqueued_at", "scheduled_at",
    "started_at", "finished_at", "changed_at", "wait_time", "run_time", "attempts", "error_class", "error_message",
    "worker",
)  # fmt: skip
"""Of a row, in its order. Moments are epoch seconds, durations seconds, args, kwargs and tags JSON texts."""

ATTEMPT_COLUMNS = (
    "record_id", "number", "error_class", "error_message", "backtrace", "started_at", "finished_at", "worker",
)  # fmt: skip

(_QUEUE, _STATE, _ENQUEUED_AT, _SCHEDULED_AT, _FINISHED_AT, _CHANGED_AT) = map(
    COLUMNS.index, ("queue", "state", "enqueued_at", "scheduled_at", "finished_at", "changed_at")
)
MOVED_COLUMNS = ("queue", "state", "enqueued_at", "scheduled_at", "finished_at", "changed_at")
"""What a move changes of a row that is there; a moment that it does not know stays."""

KEPT_COLUMNS = ("enqueued_at", "scheduled_at")
"""What stays if an event does not know it."""

STATES = {
    "done": "processed", "retry": "retry", "dead": "dead", "failed": "failed", "discarded": "discarded",
    "enqueued": "enqueued", "scheduled": "scheduled",
}  # fmt: skip
_NOT_AN_END = {"retry", "enqueued", "scheduled"}
LONGEST = 255
_LATEST_S = 253_000_000_000.0
_LATEST_MS = 253_000_000_000_000
_LONGEST_S = 1e9
_MOST = 2**31 - 1

Row = list[Any]
Attempt = tuple[Any, ...]


class Batch(NamedTuple):
    """Rows to write. `rows` replace what is there; `moves` change what is there, if it is not newer, or are new."""

    rows: dict[str, Row]
    moves: dict[str, Row]
    attempts: list[Attempt]


def fold(events: Iterable[Event], arguments: Arguments, on_odd: Callable[[str], None]) -> Batch:
    """Return what is to be written of these events, which stand in the order of the stream.

    Outcomes are taken in that order, whatever the clocks say: it is the order in which they happened. A move is told
    of after it was made, so that one that is older than what is known is passed over. `on_odd` is told of a jid that
    no row can have.
    """
    batch = Batch({}, {}, [])
    for event in events:
        jid = event[2]["jid"]
        if len(jid) > LONGEST or (not jid.isalnum() and UNFIT.search(jid)):
            on_odd(f"a jid of {len(jid)} characters that no row can have")
        elif event[4] is None:
            _move(batch, jid, _moved_row(jid, event, arguments))
        else:
            _end(batch, jid, event, arguments)
    return batch


def attempt_of(payload: dict[str, Any]) -> int:
    """Return the number of the run that begins with this payload: 1, or the failures before it and one."""
    count = payload.get("retry_count")
    if type(count) is not int:
        return 1
    return min(max(count + 2, 1), _MOST)


def _end(batch: Batch, jid: str, event: Event, arguments: Arguments) -> None:
    kind, at_s, payload, worker, started_at_s, duration_s, due_at_s, error = event
    get = payload.get
    worker, number = _name(worker), 1 if "retry_count" not in payload else attempt_of(payload)
    error_class = message = ""
    if error is not None:
        error_class, message = text(error[0]), text(error[1], 10_000)
    if error is not None or "retry_count" in payload:
        backtrace = text(error[2], 20_000) if error else ""
        batch.attempts.append((jid, number, error_class, message, backtrace, started_at_s, at_s, worker))
    if due_at_s is None and (before := batch.rows.get(jid) or batch.moves.get(jid)):
        due_at_s = before[_SCHEDULED_AT]
    if batch.moves:
        batch.moves.pop(jid, None)
    created_at_s, enqueued_at_s = _moment(get("created_at")), _moment(get("enqueued_at"))
    waited_s = None
    if enqueued_at_s is not None:
        waited_s = started_at_s - enqueued_at_s  # type: ignore[operator] # of an outcome it is known
        waited_s = waited_s if 0.0 <= waited_s <= _LONGEST_S else 0.0
    queue = get("queue")
    job_class, args, kwargs = arguments.of(payload)
    batch.rows[jid] = [
        jid, job_class, _name(queue) if type(queue) is str else "default", STATES[kind], args, kwargs,
        _tags(payload) if "tags" in payload else "[]",
        created_at_s, enqueued_at_s, due_at_s, started_at_s, None if kind == "retry" else at_s, at_s, waited_s,
        duration_s if 0.0 <= duration_s <= _LONGEST_S else 0.0, number, error_class, message, worker,
    ]  # fmt: skip


def _move(batch: Batch, jid: str, row: Row) -> None:
    before = batch.rows.get(jid) or batch.moves.get(jid)
    if before is None:
        batch.moves[jid] = row
    else:
        apply_move(before, row)


def apply_move(before: Row, move: Row) -> bool:
    """Change a row as a move says. Return False, and change nothing, if the row is newer."""
    if move[_CHANGED_AT] < before[_CHANGED_AT]:
        return False
    for column in (_QUEUE, _STATE, _FINISHED_AT, _CHANGED_AT):
        before[column] = move[column]
    for column in (_ENQUEUED_AT, _SCHEDULED_AT):
        before[column] = before[column] if move[column] is None else move[column]
    return True


def _moved_row(jid: str, event: Event, arguments: Arguments) -> Row:
    payload, at_s = event.payload, event.at_s
    job_class, args, kwargs = arguments.of(payload)
    enqueued_at_s = _moment(payload.get("enqueued_at"))
    if event.kind == "enqueued" and enqueued_at_s is None:
        enqueued_at_s = at_s
    has_failed = "error_class" in payload
    return [
        jid, job_class, _queue(payload), STATES[event.kind], args, kwargs, _tags(payload),
        _moment(payload.get("created_at")), enqueued_at_s, event.due_at_s, None,
        None if event.kind in _NOT_AN_END else at_s, at_s, None, None, attempt_of(payload) - 1,
        text(payload["error_class"]) if has_failed else "",
        text(payload.get("error_message", ""), 10_000) if has_failed else "", "",
    ]  # fmt: skip


def _queue(payload: dict[str, Any]) -> str:
    queue = payload.get("queue")
    return _name(queue) if type(queue) is str else "default"


def _tags(payload: dict[str, Any]) -> str:
    tags = payload.get("tags")
    return Arguments.text_of([text(tag) for tag in tags[:100]]) or "[]" if type(tags) is list and tags else "[]"


def _moment(value: Any) -> float | None:
    if type(value) is int and 0 <= value < _LATEST_MS:
        return value / 1000
    at_s = read_time_s(value)
    return at_s if at_s is not None and 0 <= at_s < _LATEST_S else None


@lru_cache(1000)
def _name(value: str) -> str:
    """Few in number: each is looked through once."""
    return text(value)
