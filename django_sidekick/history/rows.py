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

SUCCESS: dict[str, Any] = {
    "state": "processed", "kwargs": "{}", "tags": "[]", "scheduled_at": None, "attempts": 1, "error_class": "",
    "error_message": "",
}  # fmt: skip
"""What nearly all rows have in common: of a job that went well at its first run, that was not scheduled, without kwargs and tags."""

FACTS = (
    "jid", "job_class", "queue", "args", "created_at", "enqueued_at", "started_at", "finished_at", "wait_time",
    "run_time", "worker",
)  # fmt: skip
"""What is said of such a job beside it. `changed_at` is `finished_at`."""

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
Facts = tuple[Any, ...]
Attempt = tuple[Any, ...]


class Batch(NamedTuple):
    """What to write.

    `successes` and `rows` replace what is there; `moves` change what is there, if it is not newer, or are new.
    A jid stands in one of the three.
    """

    successes: dict[str, Facts]
    rows: dict[str, Row]
    moves: dict[str, Row]
    attempts: list[Attempt]


def fold(events: Iterable[Event], arguments: Arguments, on_odd: Callable[[str], None]) -> Batch:
    """Return what is to be written of these events, which stand in the order of the stream.

    Outcomes are taken in that order, whatever the clocks say: it is the order in which they happened. A move is told
    of after it was made, so that one that is older than what is known is passed over. `on_odd` is told of a jid that
    no row can have.
    """
    batch = Batch({}, {}, {}, [])
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


def in_ascii(event: Event) -> Event:
    """Return the event in letters that every database has, whatever its own encoding: the others are escaped."""
    payload = {**event.payload}
    for name in {"class", "queue", "tags", "error_class", "error_message"} & payload.keys():
        value = payload[name]
        payload[name] = list(map(_escaped, value)) if isinstance(value, list) else _escaped(value)
    error = event.error and tuple(map(_escaped, event.error))
    return event._replace(payload=payload, error=error)


def _escaped(value: Any) -> Any:
    """As Python writes it; a NUL too, which would become a letter of another kind."""
    if not isinstance(value, str):
        return value
    return value.replace("\0", "\\x00").encode("ascii", "backslashreplace").decode()


def row_of(facts: Facts, **others: Any) -> Row:
    """Return the whole row of a success; with `others`, what is otherwise in the row of another outcome."""
    values = dict(zip(FACTS, facts, strict=True), **SUCCESS)
    values["changed_at"] = values["finished_at"]
    values.update(others)
    return [values[name] for name in COLUMNS]


def _end(batch: Batch, jid: str, event: Event, arguments: Arguments) -> None:
    kind, at_s, payload, worker, started_at_s, duration_s, _, error, redact = event
    get = payload.get
    created_at_s, enqueued_at_s = _moment(get("created_at")), _moment(get("enqueued_at"))
    waited_s = None
    if enqueued_at_s is not None:
        waited_s = started_at_s - enqueued_at_s  # type: ignore[operator] # of an outcome it is known
        waited_s = waited_s if 0.0 <= waited_s <= _LONGEST_S else 0.0
    queue = get("queue")
    job_class, args, kwargs = arguments.of(payload, redact)
    facts = (
        jid, job_class, _name(queue) if type(queue) is str else "default", args, created_at_s, enqueued_at_s,
        started_at_s, at_s, waited_s, duration_s if 0.0 <= duration_s <= _LONGEST_S else 0.0, _name(worker),
    )  # fmt: skip
    is_plain = kind == "done" and kwargs == "{}" and "retry_count" not in payload and "tags" not in payload
    if is_plain and error is None and jid not in batch.rows and jid not in batch.moves:
        batch.successes[jid] = facts
    else:
        _end_otherwise(batch, event, facts, kwargs)


def _end_otherwise(batch: Batch, event: Event, facts: Facts, kwargs: str | None) -> None:
    payload, due_at_s, error, jid = event.payload, event.due_at_s, event.error, facts[0]
    number, error_class, message, backtrace = attempt_of(payload), "", "", ""
    if error is not None:
        error_class, message, backtrace = text(error[0]), text(error[1], 10_000), text(error[2], 20_000)
    if error is not None or (event.kind == "done" and "retry_count" in payload):
        started_at_s, at_s, worker = event.started_at_s, event.at_s, facts[-1]
        batch.attempts.append((jid, number, error_class, message, backtrace, started_at_s, at_s, worker))
    before = _before(batch, jid)
    if due_at_s is None and before:
        due_at_s = before[_SCHEDULED_AT]
    batch.moves.pop(jid, None)
    batch.rows[jid] = row_of(
        facts, state=STATES[event.kind], kwargs=kwargs, tags=_tags(payload), scheduled_at=due_at_s, attempts=number,
        error_class=error_class, error_message=message, finished_at=None if event.kind == "retry" else event.at_s,
    )  # fmt: skip


def _move(batch: Batch, jid: str, row: Row) -> None:
    before = _before(batch, jid)
    if before is None:
        batch.moves[jid] = row
    else:
        apply_move(before, row)


def _before(batch: Batch, jid: str) -> Row | None:
    """Return the row that this batch has of the job, to be changed; that of a success becomes one of the others."""
    if facts := batch.successes.pop(jid, None):
        batch.rows[jid] = row_of(facts)
    return batch.rows.get(jid) or batch.moves.get(jid)


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
    job_class, args, kwargs = arguments.of(payload, event.redact)
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
