"""What a script is told of finished jobs: which leave the in-flight hash, and which commands go with them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django_sidekick.broker import burial
from django_sidekick.broker.keys import Keys
from django_sidekick.conf import Settings
from django_sidekick.wire.outcome import FollowUp, Outcome

EVENTS_MAX_LENGTH = 100_000
_NOTHING_MOVES = {"done", "failed", "discarded"}


def words_of(
    finished: Sequence[Outcome], events: bytes, settings: Settings, keys: Keys, script_keys: list[str]
) -> list[Any]:
    """Return ARGV as settle() in settle.lua reads it; add the keys that it will touch to `script_keys`."""
    moving = [o for o in finished if o[0] not in _NOTHING_MOVES or o[8]]
    plain = [o[1][0] for o in finished if o[0] in _NOTHING_MOVES and not o[8]]
    words: list[Any] = [events, EVENTS_MAX_LENGTH, len(plain), *plain, len(moving)]
    for outcome in moving:
        commands = [("must", command) for command in _moves(outcome, settings, keys)]
        commands += [("may", follow_up) for follow_up in outcome.follow_ups]
        words += (outcome.delivery.tag, len(commands))
        for mode, (command, key, arguments) in commands:
            script_keys.append(key)
            words += (mode, 2 + len(arguments), command, key, *arguments)
    return words


def event(keys: Keys, blob: bytes) -> FollowUp:
    """Return the command that writes one job's event by itself, for what is settled on behalf of the dead."""
    return FollowUp("XADD", keys.events, ("MAXLEN", "~", EVENTS_MAX_LENGTH, "*", "b", blob))


def _moves(outcome: Outcome, settings: Settings, keys: Keys) -> list[FollowUp]:
    if outcome.kind == "retry":
        return [FollowUp("ZADD", keys.retry, (repr(outcome.at_s), outcome.member or b""))]
    if outcome.kind == "dead":
        grave = FollowUp("ZADD", keys.dead, (repr(outcome.at_s), outcome.member or b""))
        return [grave, *burial.trimming(settings, keys, outcome.at_s)]
    if outcome.kind == "released":
        return [FollowUp("RPUSH", keys.queue(outcome.delivery.queue), (outcome.delivery.raw,))]
    return []
