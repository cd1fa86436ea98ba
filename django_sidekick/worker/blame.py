"""Who killed the process: what was inside `perform` when it died is judged by how often that has happened."""

from __future__ import annotations

import hashlib
import logging
import time
from collections.abc import Collection, Sequence
from typing import Literal

from django_sidekick.broker import settling
from django_sidekick.broker.keys import Keys
from django_sidekick.broker.obituaries import Obituary, announce
from django_sidekick.broker.quarantine import home_of, quarantine_of
from django_sidekick.broker.recovery import OwnerRegister
from django_sidekick.conf import Settings
from django_sidekick.exceptions import MalformedPayload, ProcessDied
from django_sidekick.feature import Feature
from django_sidekick.jobs.mirrored import EventsOf
from django_sidekick.jobs.retry import Failure, RetryRules, with_error
from django_sidekick.wire import codec
from django_sidekick.wire.outcome import Delivery, FollowUp, Outcome
from django_sidekick.wire.payload import parse

logger = logging.getLogger("sidekick")

SUSPECT_AT, DEAD_AT = 2, 3


def verdict(times: int, *, was_alone: bool, can_run_apart: bool) -> Literal["runs again", "runs apart", "dead"]:
    """Decide where a job goes whose process has died so many times, this one included, while it ran.

    What runs apart is always alone, so only where nobody can run it apart may a bystander be buried.
    """
    if times >= DEAD_AT and (was_alone or not can_run_apart):
        return "dead"
    return "runs apart" if times >= SUSPECT_AT and can_run_apart else "runs again"


class Blame:
    """Counts a death against each job that ran in it, and settles those that shall not just run again.

    `quarantined`: the queues whose suspects somebody here runs apart.
    """

    def __init__(
        self,
        owners: OwnerRegister,
        settings: Settings,
        events_of: EventsOf | None,
        quarantined: Collection[str],
    ) -> None:
        self._owners = owners
        self._keys = Keys(settings.key_prefix)
        self._rules = RetryRules(settings.max_retries, settings.wire_times)
        self._events_of = events_of
        self._quarantined = frozenset(quarantined)

    def judge(self, identity: str, running: Sequence[tuple[Delivery, float]]) -> int:
        """Judge what a fenced process was running, each with its beginning in epoch seconds. Return how many died."""
        outcomes = []
        for delivery, since_s in running:
            times = self._owners.count_crash(name_of(delivery.raw), identity)
            can_run_apart = delivery.queue in self._quarantined
            said = verdict(times, was_alone=len(running) == 1, can_run_apart=can_run_apart)
            if said == "dead":
                outcomes.append(self._grave(delivery, ProcessDied(identity, times), since_s))
            elif said == "runs apart":
                outcomes.append(self._put_apart(delivery, times))
        if outcomes:
            self._owners.settle(identity, outcomes)
        return sum(outcome.kind == "dead" for outcome in outcomes)

    def _put_apart(self, delivery: Delivery, times: int) -> Outcome:
        queue = quarantine_of(delivery.queue)
        logger.warning(
            "Job %s was running in %d deaths of its process: next it runs alone.", name_of(delivery.raw), times
        )
        known = FollowUp("SADD", self._keys.queues, (queue,))
        return Outcome("released", delivery._replace(queue=queue), follow_ups=(known,))

    def _grave(self, delivery: Delivery, error: ProcessDied, since_s: float) -> Outcome:
        now_s, member, payload = time.time(), delivery.raw, None
        try:
            failure = Failure(home_of(delivery.queue), error, now_s)
            payload = with_error(parse(delivery.raw), failure, self._rules)
            member = codec.dumps(payload)
        except (MalformedPayload, TypeError, ValueError):  # what cannot be written again is buried as it came
            logger.debug("Buried as it came: %r", delivery.raw)
        logger.error("Job %s is dead: %s", name_of(delivery.raw), error)
        outcome = Outcome("dead", delivery, payload, since_s, now_s - since_s, error, member, now_s)
        obituary = Obituary(error.identity, error.times, home_of(delivery.queue), delivery.raw)
        outcome = outcome._replace(follow_ups=announce(obituary, self._keys))
        return with_event(error.identity, outcome, self._keys, self._events_of)


class Acquittal(Feature):
    """In the quarantine alone: what has ended without killing its process has its deaths forgotten."""

    def __init__(self, settings: Settings) -> None:
        self._keys = Keys(settings.key_prefix)
        self.follow_ups = self._forget

    def _forget(self, outcome: Outcome) -> Sequence[FollowUp]:
        if outcome.kind in ("retry", "released"):
            return ()
        return (FollowUp("DEL", self._keys.crashes(name_of(outcome.delivery.raw)), ()),)


def with_event(identity: str, outcome: Outcome, keys: Keys, events_of: EventsOf | None) -> Outcome:
    """Return an outcome that is settled on behalf of the dead, with its event if the mirror keeps it."""
    blob = events_of(identity, [outcome]) if events_of else b""
    if not blob:
        return outcome
    return outcome._replace(follow_ups=(*outcome.follow_ups, *settling.event_commands(keys, blob)))


def name_of(raw: bytes) -> str:
    """Return the jid, which outlives retries; a digest for what has none."""
    try:
        jid = parse(raw).get("jid")
    except MalformedPayload:
        jid = None
    if isinstance(jid, str) and 0 < len(jid) <= 64 and jid.isalnum():
        return jid
    return hashlib.sha256(raw).hexdigest()[:32]
