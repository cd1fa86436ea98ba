"""A job's life as a list of moments, from its record and from what Redis says now. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from django.utils.translation import gettext as _

from django_sidekick.broker.whereabouts import Location
from django_sidekick.dashboard.show import moment
from django_sidekick.models import JobAttempt, JobRecord
from django_sidekick.wire.shown import Shown

State = JobRecord.State
_CUT = timedelta(milliseconds=1)
"""What the payload has of its times is less by up to this."""
_NEVER = datetime.max.replace(tzinfo=UTC)
ENDS = (State.PROCESSED, State.DEAD, State.FAILED, State.DISCARDED)


class Moment(NamedTuple):
    """One moment: `kind` is created, enqueued, scheduled, try, busy, next or end; `detail` is an error's class."""

    kind: str
    label: str
    at: datetime | None
    detail: str = ""


def life(
    record: JobRecord | None,
    attempts: Sequence[JobAttempt],
    place: Location | None,
    job: Shown | None,
) -> list[Moment]:
    """Return what is known, in order; what lies ahead stands last."""
    created = (record and moment(record.created_at)) or (job and moment(job.created_at_s))
    enqueued = (record and moment(record.enqueued_at)) or (job and moment(job.enqueued_at_s))
    moments = [Moment("created", _("Created"), created or None)]
    due = record and moment(record.scheduled_at)
    if record and due and (record.state == State.SCHEDULED or (enqueued and due < enqueued + _CUT)):
        moments.append(Moment("scheduled", _("Scheduled for"), due))  # otherwise it did not wait until then
    moments.append(Moment("enqueued", _("Enqueued"), enqueued or None))
    moments += _tries(record, attempts, job)
    moments = sorted((m for m in moments if m.at), key=lambda known: known.at or _NEVER)
    return [*moments, *_now(place), *_end(record, place)]


def _tries(record: JobRecord | None, attempts: Sequence[JobAttempt], job: Shown | None) -> list[Moment]:
    tries = [
        Moment(
            "try",
            (_("Run %(number)s failed") if attempt.error_class else _("Run %(number)s succeeded"))
            % {"number": attempt.number},
            moment(attempt.finished_at),
            attempt.error_class,
        )
        for attempt in attempts
    ]
    if tries:
        return tries
    if record and record.started_at:
        return [Moment("try", _("Started"), moment(record.started_at))]
    if job is None:
        return []
    failures = (
        (_("First failure"), moment(job.failed_at_s)),
        (_("Last failure"), moment(job.retried_at_s)),
    )
    return [Moment("try", label, at, job.error_class) for label, at in failures if at]


def _now(place: Location | None) -> list[Moment]:
    """What Redis knows of now and of what lies ahead."""
    if place is None:
        return []
    if place.kind == "busy":
        return [Moment("busy", _("Running since"), moment(place.since_s))]
    labels = {"retry": _("Next try"), "schedule": _("Due"), "dead": _("Died")}
    kind = "end" if place.kind == "dead" else "next"
    if place.kind in labels:
        return [Moment(kind, labels[place.kind], moment(place.score))]
    return []


def _end(record: JobRecord | None, place: Location | None) -> list[Moment]:
    """The end that was recorded, unless the job is somewhere: then it has begun anew."""
    if record is None or place is not None or record.state not in ENDS:
        return []
    return [Moment("end", str(record.get_state_display()).capitalize(), moment(record.finished_at), record.error_class)]
