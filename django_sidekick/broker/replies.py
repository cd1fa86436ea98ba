"""Reading what Redis replies to a question, whatever stands under the key."""

from __future__ import annotations

from typing import Any


def count(reply: Any) -> int:
    """Return a reply as a number from 0; 0 for nothing, an error, or what is no number."""
    if isinstance(reply, bytes):
        return int(reply) if reply.isdigit() and len(reply) < 19 else 0
    return reply if isinstance(reply, int) else 0


def names_in(reply: Any) -> list[str]:
    """Return the members of a set of names, sorted; [] for an error."""
    if isinstance(reply, Exception) or not reply:
        return []
    return sorted(name.decode(errors="surrogateescape") for name in reply)


def pairs_in(reply: Any) -> list[tuple[bytes, bytes]]:
    """Return the fields of a hash with their values; [] for an error."""
    return list(zip(reply[::2], reply[1::2], strict=True)) if isinstance(reply, list) else []
