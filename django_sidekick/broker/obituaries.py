"""News of jobs that the death of their process has buried, for somebody who may run the project's code."""

from __future__ import annotations

from typing import NamedTuple

from django_sidekick.broker.connection import Client
from django_sidekick.broker.keys import Keys
from django_sidekick.wire import codec
from django_sidekick.wire.outcome import FollowUp

MOST = 1000
KEPT_S = 72 * 3600


class Obituary(NamedTuple):
    """Which process died last while it ran the job, in how many deaths it was, from which queue, and its payload."""

    identity: str
    times: int
    queue: str
    raw: bytes


def announce(obituary: Obituary, keys: Keys) -> tuple[FollowUp, ...]:
    """Return the commands that go with the burial. The last 1,000 are kept, for 72 h, while nobody reads them."""
    text = codec.dumps(list(obituary[:3])) + b"\n" + obituary.raw
    return (
        FollowUp("RPUSH", keys.obituaries, (text,)),
        FollowUp("LTRIM", keys.obituaries, (-MOST, -1)),
        FollowUp("EXPIRE", keys.obituaries, (KEPT_S,)),
    )


def take(client: Client, keys: Keys) -> Obituary | None:
    """Take the oldest one out, or None: each is read at most once, also by one that dies of what it then does."""
    text = client.lpop(keys.obituaries)
    if not isinstance(text, bytes):
        return None
    head, _, raw = text.partition(b"\n")
    identity, times, queue = codec.loads(head)
    return Obituary(identity, times, queue, raw)
