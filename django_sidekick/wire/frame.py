"""Texts of job hashes that differ in arguments and jid alone: what they share is written once."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from django_sidekick.wire import codec


class Frame(NamedTuple):
    """What stands around the arguments and the jid: the same text that the whole hash would give."""

    fields: dict[str, Any]
    name: str
    queue: str
    head: bytes
    middle: bytes

    def text(self, args: Sequence[Any], jid: str, tail: bytes) -> bytes | None:
        """Return the text of a job hash with these plain arguments; None if they cannot be written."""
        try:
            return b"".join((self.head, codec.dumps(args), self.middle, jid.encode(), tail))
        except (TypeError, ValueError):
            return None

    def texts(self, calls: Iterable[Sequence[Any]], jids: Iterable[str], tail: bytes) -> list[bytes] | None:
        """Return the texts of many, made in one go; None if one of them cannot be written."""
        _, _, _, head, middle = self
        dumps, join = codec.dumps, b"".join
        try:
            return [
                join((head, dumps(args), middle, jid.encode(), tail)) for args, jid in zip(calls, jids, strict=True)
            ]
        except (TypeError, ValueError):
            return None

    def payload(self, args: Sequence[Any]) -> dict[str, Any]:
        """Return the job hash itself, without its last fields: jid and times."""
        return {**self.fields, "args": list(args), "class": self.name}


def frame_of(fields: Mapping[str, Any], name: str) -> Frame | None:
    """Return the frame of all jobs with these first fields; None if they hold what comes last, or no JSON holds them."""
    if "jid" in fields or "created_at" in fields:
        return None
    try:
        head = codec.dumps(fields)[:-1] + b',"args":'
        middle = b',"class":' + codec.dumps(name) + b',"jid":"'
    except (TypeError, ValueError):
        return None
    return Frame(dict(fields), name, fields["queue"], head, middle)


def tail_of(stamp: int | float, *, is_scheduled: bool) -> bytes:
    """Return what follows the jid: the time of creation, and of enqueuing where that is now."""
    time = codec.dumps(stamp)
    return b'","created_at":%b}' % time if is_scheduled else b'","created_at":%b,"enqueued_at":%b}' % (time, time)
