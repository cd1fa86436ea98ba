"""A job's text as people see it: every field of the type it should have, whatever stands there."""

from __future__ import annotations

import hashlib
from typing import Any, NamedTuple

from django_sidekick.exceptions import DeserializationError
from django_sidekick.wire import codec, ruby
from django_sidekick.wire.payload import decode_backtrace, read_time_s, scrub

LONGEST_WORD = 300
MOST_TAGS = 20
MOST_RETRIES = 10**9
"""Beyond it, a count is no count."""


class Shown(NamedTuple):
    """What one text says of its job. Texts hold no lone surrogates; times are epoch seconds, or None.

    Class, arguments and keyword arguments are those of the job inside Active Job's wrapper. What is no object
    has `text` alone.
    """

    is_job: bool
    text: str
    jid: str = ""
    job_class: str = ""
    queue: str = ""
    args: Any = ()
    kwargs: Any = None
    tags: tuple[str, ...] = ()
    retry_count: int | None = None
    error_class: str = ""
    error_message: str = ""
    created_at_s: float | None = None
    enqueued_at_s: float | None = None
    failed_at_s: float | None = None
    retried_at_s: float | None = None
    packed_backtrace: Any = None

    def backtrace(self) -> list[str]:
        """Return the lines of the backtrace, the innermost first; [] if there is none, or it is junk."""
        return [scrub(line) for line in decode_backtrace(self.packed_backtrace)]


def shown(raw: bytes) -> Shown:
    """Return what a text says. Never raise."""
    payload = read(raw)
    text = scrub(raw.decode(errors="replace"))
    if payload is None:
        return Shown(False, text)
    name, args, kwargs = _call(payload)
    times = ("created_at", "enqueued_at", "failed_at", "retried_at")
    created, enqueued, failed, retried = (read_time_s(payload.get(field)) for field in times)
    return Shown(
        True,
        text,
        _name(payload.get("jid")),
        name,
        word(payload.get("queue")),
        args,
        kwargs,
        _tags(payload.get("tags")),
        _count(payload.get("retry_count")),
        word(payload.get("error_class")),
        word(payload.get("error_message"), 10_000),
        created,
        enqueued,
        failed,
        retried,
        payload.get("error_backtrace"),
    )


def read(raw: bytes) -> dict[str, Any] | None:
    """Return the job hash, or None for what is no JSON object."""
    try:
        payload = codec.loads(raw)
    except ValueError:
        return None
    return payload if isinstance(payload, dict) else None


def digest(raw: bytes) -> str:
    """Return the name by which a form knows a text: 24 hex digits."""
    return hashlib.blake2b(raw, digest_size=12).hexdigest()


def word(value: Any, longest: int = LONGEST_WORD) -> str:
    """Return a text field: '' for nothing, JSON for what is no text; scrubbed and cut."""
    if value is None:
        return ""
    if not isinstance(value, str):
        value = json_of(value)
    return scrub(value[:longest])


def json_of(value: Any) -> str:
    """Return a value of a payload as JSON; a word about it if it cannot be written."""
    try:
        return scrub(codec.dumps(value).decode(errors="replace"))
    except (TypeError, ValueError):
        return "(cannot be written)"


def _call(payload: dict[str, Any]) -> tuple[str, Any, Any]:
    name, args, kwargs = payload.get("class"), payload.get("args"), payload.get("kwargs")
    named = [payload.get("display_class"), payload.get("wrapped")]
    if isinstance(name, str) and isinstance(args, list) and ruby.is_wrapped(payload):
        inner = args[0]
        named.append(inner.get("job_class"))
        try:
            _, args, kwargs = ruby.unwrap({**payload, "wrapped": name})
        except (DeserializationError, RecursionError):
            args = inner.get("arguments")
    name = next((found for found in named if isinstance(found, str) and found), name)
    return word(name), args, kwargs or None


def _name(value: Any) -> str:
    return scrub(value) if isinstance(value, str) else ""


def _tags(value: Any) -> tuple[str, ...]:
    if isinstance(value, str):
        return (word(value),)
    return tuple(map(word, value[:MOST_TAGS])) if isinstance(value, list) else ()


def _count(value: Any) -> int | None:
    is_count = isinstance(value, int) and not isinstance(value, bool) and abs(value) < MOST_RETRIES
    return value if is_count else None
