"""Acts on single jobs, wherever they are: from the list of the history, and from a job's own page."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple

from django.conf import settings as django_settings
from django.utils import timezone
from django.utils.translation import gettext as _

from django_sidekick.broker.console import get_console
from django_sidekick.broker.inspector import Inspector
from django_sidekick.broker.moving import queue_of
from django_sidekick.broker.sets import Member
from django_sidekick.broker.whereabouts import Found, Location, seek
from django_sidekick.conf import get_settings
from django_sidekick.dashboard.acts import Act
from django_sidekick.dashboard.errand import came_since
from django_sidekick.dashboard.recall import can_be_kept, recall
from django_sidekick.dashboard.sentences import sentence
from django_sidekick.exceptions import BrokerUnavailable, SidekickError
from django_sidekick.feature import load_features
from django_sidekick.history.arguments import REDACTED
from django_sidekick.jobs.byhand import inspector_for
from django_sidekick.jobs.calls import with_defaults
from django_sidekick.jobs.enqueue import enqueue
from django_sidekick.jobs.registry import JOBS
from django_sidekick.jobs.request import Request
from django_sidekick.models import JobRecord
from django_sidekick.wire.arguments import holds
from django_sidekick.wire.serializers import KIND

SEARCH_S = 0.5
"""How long a page looks for jobs in Redis."""

POSSIBLE: Mapping[str, tuple[str, ...]] = {
    "retry": ("retry_now", "reschedule", "kill", "delete"),
    "schedule": ("enqueue_now", "reschedule", "kill", "delete"),
    "dead": ("retry_now", "delete"),
    "queue": ("kill", "delete"),
    "busy": (),
}
"""What can be done to a job where it is."""

_PAST = (
    "jid", "at", "created_at", "enqueued_at", "failed_at", "retried_at", "retry_count", "error_class",
    "error_message", "error_backtrace", "discarded_at",
)  # fmt: skip
"""Fields that tell of one job's life; a new one begins without them, and without the stamps of features."""


class Carried(NamedTuple):
    """What became of an act, each jid in one of these.

    `missed`: elsewhere, or in none of the places looked at. `refused`: what it was to go to holds something else;
    the values say what. `left`: not come to, for Redis went away, as `trouble` says.
    """

    done: tuple[str, ...]
    missed: tuple[str, ...]
    refused: Mapping[str, str]
    left: tuple[str, ...]
    trouble: str


def carry_out(act: Act, jids: Sequence[str], at_s: float | None = None, asked_s: float | None = None) -> Carried:
    """Do retry_now, enqueue_now, kill, delete or reschedule to jobs, each where it is found; one atomic move each.

    A job that has moved meanwhile, or come to where it is after `asked_s`, is missed; done twice it changes nothing.
    What is deleted is discarded in the history at once, for no page of Redis' can say it. Raise SidekickError if
    Redis is away before anything was done.
    """
    console = get_console()
    found: Found = console.ask({"found": seek(console.keys, jids, within_s=SEARCH_S * 4)})["found"]
    now_s = round(time.time(), 3)
    places = {
        jid: place
        for jid, place in found.places.items()
        if act.name in POSSIBLE[place.kind] and _was_there(place, asked_s, now_s)
    }
    move = _move(inspector_for(console, act.name, at_s, now_s), act, at_s)
    done, refused, left, trouble = [], {}, [], ""
    for jid, place in places.items():
        if trouble:
            left.append(jid)
            continue
        try:
            if move(place):
                done.append(jid)
        except BrokerUnavailable as error:
            trouble = sentence(error)
            left.append(jid)
        except SidekickError as error:
            refused[jid] = sentence(error)
    if act.name == "delete":
        _discard(done, now_s)
    met = {*done, *refused, *left}
    missed = tuple(jid for jid in jids if jid not in met)
    return Carried(tuple(done), missed, refused, tuple(left), trouble)


def _move(inspector: Inspector, act: Act, at_s: float | None) -> Callable[[Location], bool]:
    moves: dict[str, Callable[[Location], bool]] = {
        "retry_now": inspector.retry,
        "enqueue_now": inspector.retry,
        "kill": inspector.kill,
        "delete": inspector.delete,
        "reschedule": lambda place: inspector.reschedule(place, at_s or 0.0),
    }
    return moves[act.name]


def run_again(payload: Mapping[str, Any]) -> str | None:
    """Enqueue a new job with the class, arguments and options of this one, at once. Return its jid.

    It goes the way of push(), client middleware included: None if that refuses it, and there is no new job.
    Raise SidekickError if it is no job or Redis is away.
    """
    if not isinstance(payload.get("class"), str) or not isinstance(payload.get("args"), list):
        raise SidekickError(_("The job has no class or no list of arguments: it cannot run again."))
    past = {*_PAST, *(name for feature in load_features(get_settings()) for name in feature.stamps)}
    fresh = {name: value for name, value in payload.items() if name not in past}
    fresh.setdefault("retry", True)
    fresh["queue"] = queue_of(fresh)
    try:
        handle = enqueue([Request.of(fresh, None, "default", "immediately")])[0]
    except (TypeError, ValueError) as error:  # of a client middleware: a field holds what it did not expect
        raise SidekickError(_("The job cannot run again: %(error)s") % {"error": error}) from error
    return handle.jid if handle.enqueued else None


def payload_of(record: JobRecord) -> dict[str, Any] | None:
    """Return a job hash for what the history has kept; None if arguments were left out, or some are not as they were.

    Options are those of the class as it is now; a job of an unknown class has none.
    """
    job_class = JOBS.get(record.job_class)
    if not isinstance(record.args, list) or getattr(job_class, "redact", None):
        return None
    if holds([record.queue, record.args, record.kwargs], _is_altered):
        return None
    fields: dict[str, Any] = {"retry": True}
    if job_class:
        fields = dict(with_defaults(job_class).recipe.fields)
    fields |= {"class": record.job_class, "queue": record.queue, "args": record.args}
    if isinstance(record.kwargs, dict) and record.kwargs:
        fields["kwargs"] = record.kwargs
    if isinstance(record.tags, list) and record.tags:
        fields["tags"] = record.tags
    if holds([record.args, record.kwargs], lambda value: isinstance(value, dict) and KIND in value):
        fields["sk_encoded"] = True
    return fields


def _was_there(place: Location, asked_s: float | None, now_s: float) -> bool:
    member = Member(place.raw, place.score or 0.0)
    return asked_s is None or not came_since(asked_s, place.kind, member, now_s)


def _discard(jids: Sequence[str], at_s: float) -> None:
    """Write what the event of the deletion says, with its moment, before a recorder comes to it.

    Of a job that is dead or enqueued the page that one returns to knows the truth from Redis; of what is deleted
    only the record can say it, and there may be no recorder: no worker runs, or HISTORY is off by now. As with
    the event, what has changed since stays.
    """
    at = datetime.fromtimestamp(at_s, UTC)
    at = at if django_settings.USE_TZ else timezone.make_naive(at)
    state, kept = JobRecord.State.DISCARDED, [jid for jid in jids if can_be_kept(jid)]
    recall(
        lambda alias: (
            JobRecord.objects.using(alias)
            .filter(jid__in=kept, changed_at__lte=at)
            .update(state=state, finished_at=at, changed_at=at)
        ),
        0,
    )


def _is_altered(value: Any) -> bool:
    """Tell whether a value is hidden, by a rule that may be no more, or has lost what no database takes."""
    texts = value if isinstance(value, dict) else (value,) if isinstance(value, str) else ()
    return any(text == REDACTED or "\ufffd" in text for text in texts)
