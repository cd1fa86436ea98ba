"""Pushing many jobs onto one queue without Lua, which would copy each text twice."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django_sidekick.broker.connection import DirectPool

MANY = 100
"""Jobs from which a transaction is faster than the script."""


def suits(keys: Sequence[str], words: Sequence[Any]) -> bool:
    """Tell whether a push, in the words of push.lua, is one of many jobs, all to one queue."""
    return len(keys) == 4 and not words[2] and words[4] >= MANY


def push_together(pool: DirectPool, keys: Sequence[str], words: Sequence[Any]) -> bool:
    """Push all jobs of one queue in one transaction and one round trip. Return True if that was done.

    Otherwise they are not pushed, or were pushed before, or Redis objects to something: the script can tell.

    The first EXPIRE changes only a token that is there, and a watched key that has changed forbids the EXEC:
    a transaction that arrives late does nothing once another has pushed under its token (docs/adr/0008). The
    token is one more word of the LPUSH, moved out again: it is there if and only if the jobs have been pushed.
    """
    token, queues, _, queue = keys
    life_s, _, _, name, _, *texts, _ = words
    replies = pool.execute_together(
        ("WATCH", token),
        ("EXPIRE", token, life_s),
        ("MULTI",),
        ("SADD", queues, name),
        ("LPUSH", queue, *texts, 1),
        ("LMOVE", queue, token, "LEFT", "LEFT"),
        ("EXPIRE", token, life_s),
        ("EXEC",),
    )
    done = replies[-1]
    return isinstance(done, list) and not any(isinstance(reply, Exception) for reply in done)
