"""Sidekiq's job hash: making it, reading it, and the fields that a failure adds."""

from __future__ import annotations

import base64
import itertools
import json
import math
import os
import re
import secrets
import time
import traceback
import zlib
from datetime import datetime
from typing import Any

from django_sidekick.exceptions import ArgumentError, MalformedPayload
from django_sidekick.wire import codec, longnumbers

MESSAGE_LENGTH = 10_000
LONGEST_BACKTRACE = 1_000_000
BACKTRACE_LENGTH = 20_000
FRAMES = 100
JIDS_A_LOOK = 5_000
"""Jids made with one look at the clock, in less than a millisecond: far fewer than the counter tells apart."""
_SURROGATE = re.compile("[\ud800-\udfff]")

_random = ""
_count = itertools.count()


def _reseed() -> None:
    global _random, _count  # one process, one seed
    _random, _count = secrets.token_hex(4), itertools.count(secrets.randbelow(0x10000))


_reseed()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_reseed)


def new_jid() -> str:
    """Return 24 hex digits: 12 of milliseconds, 8 of this process, 4 of a counter.

    Ruby asks for 24 hex digits only; growing ones let rows go to the right edge of their index,
    a sixth of the time on SQLite. 65,536 a millisecond are unique.
    """
    return f"{int(time.time() * 1000):012x}{_random}{next(_count) & 0xFFFF:04x}"


def new_jids(count: int) -> list[str]:
    """Return so many, as new_jid() makes them."""
    jids: list[str] = []
    while count > 0:
        prefix = f"{int(time.time() * 1000):012x}{_random}"
        numbers = itertools.islice(_count, min(count, JIDS_A_LOOK))
        jids += [f"{prefix}{number & 0xFFFF:04x}" for number in numbers]
        count -= JIDS_A_LOOK
    return jids


def timestamp(at_s: float, wire_times: str) -> int | float:
    """Return a time as the payload has it: whole milliseconds, or for 6.x and 7.x seconds as a float."""
    return int(at_s * 1000) if wire_times == "milliseconds" else float(at_s)


def read_time_s(value: Any) -> float | None:
    """Return epoch seconds of a time field: an int is milliseconds, a float seconds, a text ISO 8601.

    None for anything else, infinities included. Source: Sidekiq 8.1, `job_util.rb` and `api.rb`.
    """
    if isinstance(value, bool):
        return None
    if isinstance(value, int):
        return value / 1000 if abs(value) < 10**15 else None
    if isinstance(value, float):
        return value if math.isfinite(value) and abs(value) < 10**12 else None
    if isinstance(value, str):
        try:
            return datetime.fromisoformat(value).timestamp()
        except (ValueError, OverflowError):
            return None
    return None


def parse(raw: bytes) -> dict[str, Any]:
    """Return the job hash. Raise MalformedPayload if it is no object with a text class and a list of args."""
    try:
        payload = codec.loads(raw)
    except ValueError as error:
        raise MalformedPayload(f"no JSON: {error}", raw=raw) from error
    if type(payload) is not dict:
        raise MalformedPayload(f"JSON, but no object: {type(payload).__name__}", raw=raw)
    if type(payload.get("class")) is not str or type(payload.get("args")) is not list:
        raise MalformedPayload("an object without a text `class` and a list of `args`", raw=raw)
    return payload


def text_of(payload: dict[str, Any]) -> bytes:
    """Return the text of a job hash that goes out. Raise ArgumentError, naming the path where it is known."""
    try:
        return codec.dumps(payload)
    except (TypeError, ValueError) as error:
        path = longnumbers.path_to_too_long(payload)
        raise ArgumentError(f"{path or 'The payload'} cannot be written as JSON: {error}", path=path) from error


def wrap_malformed(raw: bytes, queue: str, now_s: float, wire_times: str) -> bytes | None:
    """Return a valid job hash around JSON that is no object; None for what is no JSON, or is an object.

    Laid raw into `dead`, such an entry makes Sidekiq Web answer 500.
    """
    try:
        value = codec.loads(raw)
    except ValueError:
        return None
    if isinstance(value, dict):
        return None
    now = timestamp(now_s, wire_times)
    return codec.dumps(
        {
            "retry": False,
            "queue": queue,
            "args": [scrub(raw.decode(errors="replace"))],
            "class": "(malformed)",
            "jid": new_jid(),
            "created_at": now,
            "enqueued_at": now,
            "error_message": "What came out of the queue is JSON, but no object.",
            "error_class": "MalformedPayload",
            "failed_at": now,
            "retry_count": 0,
        }
    )


def scrub(text: str) -> str:
    """Return the text with each lone surrogate, or undecodable byte, as U+FFFD."""
    return _SURROGATE.sub("\ufffd", text)


def as_text(value: object) -> str:
    """Return any value of a payload as a text, to be shown. Never raise: not every number of JSON's can be printed."""
    try:
        return str(value)
    except (ValueError, RecursionError):
        return f"({type(value).__name__} beyond printing)"


def error_message(error: BaseException) -> str:
    """Return the first 10,000 characters of the error's text, scrubbed. Never raise."""
    try:
        return scrub(str(error)[:MESSAGE_LENGTH])
    except Exception:  # noqa: BLE001 a user's __str__ may do anything
        return "!!! ERROR MESSAGE THREW AN ERROR !!!"


def error_backtrace(error: BaseException) -> str:
    """Return the error as Python prints it, the innermost frame last: the last 20,000 characters of it. Never raise."""
    try:
        lines = traceback.format_exception(type(error), error, error.__traceback__, limit=-FRAMES)
        return scrub("".join(lines)[-BACKTRACE_LENGTH:])
    except Exception:  # noqa: BLE001 as above; it may also be nested too deeply to be printed
        return ""


def encode_backtrace(error: BaseException, keep: object) -> str | None:
    """Return Base64 of zlib of a JSON list of lines, innermost first; `keep` True for all, N for N lines.

    None if `keep` is falsy or odd. Source: Sidekiq 6.0.1 and later.
    """
    if not keep or not isinstance(keep, bool | int):
        return None
    frames = traceback.extract_tb(error.__traceback__)
    lines = [scrub(f"{f.filename}:{f.lineno}:in `{f.name}'") for f in reversed(frames)]
    if keep is not True:
        lines = lines[: max(keep, 0)]
    return base64.b64encode(zlib.compress(codec.dumps(lines))).decode()


def decode_backtrace(text: Any) -> list[str]:
    """Return the lines of an `error_backtrace` field, plain lists of old Sidekiqs included.

    [] for junk, and for what unpacks to more than a million bytes: a short text may unpack to gigabytes.
    """
    if isinstance(text, list):
        return [str(line) for line in text]
    try:
        unpacking = zlib.decompressobj()
        lines = json.loads(unpacking.decompress(base64.b64decode(text), LONGEST_BACKTRACE))
    except (ValueError, TypeError, zlib.error, RecursionError):
        return []
    return [str(line) for line in lines] if isinstance(lines, list) else []
