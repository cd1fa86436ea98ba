"""What a script is told of finished jobs: which leave the in-flight hash, and which commands go with them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django_sidekick.broker import burial
from django_sidekick.broker.keys import Keys
from django_sidekick.conf import Settings
from django_sidekick.wire.outcome import FollowUp, Outcome

MIB = 2**20
NO_BOUND = 2**53
_NOTHING_MOVES = {"done", "failed", "discarded"}


def words_of(
    finished: Sequence[Outcome], events: bytes, settings: Settings, keys: Keys, script_keys: list[str]
) -> list[Any]:
    """Return ARGV as settle() in settle.lua reads it; add the keys that it will touch to `script_keys`."""
    moving = [o for o in finished if o[0] not in _NOTHING_MOVES or o[8]]
    moving.sort(key=_settling_order)
    plain = [o[1][0] for o in finished if o[0] in _NOTHING_MOVES and not o[8]]
    words: list[Any] = [*_bound(events, settings, keys, script_keys), len(plain), *plain, len(moving)]
    for outcome in moving:
        commands = [("must", command) for command in _moves(outcome, settings, keys)]
        commands += [("may", follow_up) for follow_up in outcome.follow_ups]
        words += (outcome.delivery.tag, len(commands))
        for mode, (command, key, arguments) in commands:
            script_keys.append(key)
            words += (mode, 2 + len(arguments), command, key, *arguments)
    return words


def _settling_order(outcome: Outcome) -> int:
    """What is released goes back to the front one by one: the last of them first."""
    return -outcome.delivery.tag if outcome.kind == "released" else 0


def _bound(events: bytes, settings: Settings, keys: Keys, script_keys: list[str]) -> list[Any]:
    """How the stream is bounded: nothing where neither an event nor a throttle can matter."""
    how = settings.history_overflow if settings.history != "off" else "drop"
    if not events and how == "drop":
        return [""]
    script_keys += (keys.events_bytes, keys.events_dropped)
    limit = settings.history_stream_max_mib * MIB
    return [how, events, limit, keys.events_bytes, keys.events_dropped]


def stream_bound(settings: Settings) -> int:
    """Return at how many bytes the stream is full for events that cannot wait: of pushes, and of acts by hand.

    With a throttle, which drops nothing, never.
    """
    return NO_BOUND if settings.history_overflow == "throttle" else settings.history_stream_max_mib * MIB


def event_commands(keys: Keys, blob: bytes) -> tuple[FollowUp, ...]:
    """Return the commands that write one job's event by itself, for what is settled on behalf of the dead.

    Not bounded: they are as few as the jobs that a dead process held.
    """
    return (
        FollowUp("XADD", keys.events, ("*", "b", blob)),
        FollowUp("INCRBY", keys.events_bytes, (len(blob),)),
    )


def _moves(outcome: Outcome, settings: Settings, keys: Keys) -> list[FollowUp]:
    if outcome.kind == "retry":
        return [FollowUp("ZADD", keys.retry, (repr(outcome.at_s), outcome.member or b""))]
    if outcome.kind == "dead":
        grave = FollowUp("ZADD", keys.dead, (repr(outcome.at_s), outcome.member or b""))
        return [grave, *burial.trimming(settings, keys, outcome.at_s)]
    if outcome.kind == "released":
        return [FollowUp("RPUSH", keys.queue(outcome.delivery.queue), (outcome.delivery.raw,))]
    return []
