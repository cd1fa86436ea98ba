"""The page of one job: its life, its runs, where it is right now, and what can be done to it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, ClassVar, NamedTuple

from django.contrib import messages
from django.http import HttpResponse
from django.utils.functional import cached_property
from django.utils.html import format_html
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from django_sidekick.broker.console import Question, get_console
from django_sidekick.broker.whereabouts import Found, Gap, Location, seek
from django_sidekick.dashboard import acts, bounded, frames, jobacts
from django_sidekick.dashboard.acts import ACTS, Act
from django_sidekick.dashboard.call import as_call
from django_sidekick.dashboard.life import life
from django_sidekick.dashboard.page import LivePage
from django_sidekick.dashboard.recall import find_record, recall
from django_sidekick.dashboard.show import figure, text
from django_sidekick.exceptions import SidekickError
from django_sidekick.models import JobAttempt, JobRecord
from django_sidekick.wire.payload import scrub
from django_sidekick.wire.shown import Shown, json_of, shown, word

MOST_ATTEMPTS = 100
MOST_SIBLINGS = 10
AMONG = 1_000
"""The newest jobs with its error, or of its class, among which siblings are looked for: each is read from its row."""
MOST_TEXT = 100_000
NOWHERE = Found({}, ())
GONE = (JobRecord.State.PROCESSED, JobRecord.State.DISCARDED, JobRecord.State.FAILED)
"""Ends after which a job is in Redis no more."""


class Recalled(NamedTuple):
    """What the history knows of a job."""

    record: JobRecord | None = None
    attempts: Sequence[JobAttempt] = ()
    siblings: Sequence[JobRecord] = ()


class Run(NamedTuple):
    """One run that was recorded, and its traceback."""

    attempt: JobAttempt
    trace: frames.Trace


class JobPage(LivePage):
    """One job by its jid: from the history and from Redis, whichever knows it, whichever is there."""

    name = "job"
    title = gettext_lazy("Job")
    template = "django_sidekick/job.html"
    parts: ClassVar[dict[str, str]] = {
        "sk-place": "django_sidekick/parts/place.html",
        "sk-story": "django_sidekick/parts/story.html",
    }
    acts: ClassVar[tuple[str, ...]] = (
        "retry_now", "enqueue_now", "run_again", "reschedule", "kill", "delete",
    )  # fmt: skip

    @cached_property
    def jid(self) -> str:
        """Return the jid of the URL."""
        return str(self.kwargs["jid"])

    @property
    def is_live(self) -> bool:
        """Tell whether only the live parts are asked for."""
        return "live" in self.request.GET

    @cached_property
    def recalled(self) -> tuple[Recalled, str]:
        """Return what the history knows, and why it cannot be read."""
        return recall(lambda alias: _recall(alias, self.jid, is_live=self.is_live), Recalled())

    def questions(self) -> dict[str, Question]:
        """Ask where it is; not again and again for one that has ended."""
        record = self.recalled[0].record
        if self.is_live and record and record.state in GONE:
            return {}
        return {"found": seek(get_console().keys, [self.jid], within_s=jobacts.SEARCH_S)}

    def context(self) -> dict[str, Any]:
        """Add what the history knows, Redis or not."""
        context = super().context()
        recalled, history_error = self.recalled
        found: Found = context.get("found", NOWHERE)
        place = found.places.get(self.jid)
        job = shown(place.raw or json_of(place.payload).encode()) if place else None
        told = {} if self.is_live else _told(recalled, job)
        return {
            **context,
            **told,
            **self._now(recalled, place, job),
            "jid": text(self.jid),
            "history_error": history_error,
            "gaps": [gap_text(gap) for gap in found.gaps],
        }

    def _now(self, recalled: Recalled, place: Location | None, job: Shown | None) -> dict[str, Any]:
        """What changes while one looks at it."""
        record = recalled.record
        possible = [*jobacts.POSSIBLE[place.kind]] if place else []
        if place.kind != "busy" if place else (record and jobacts.payload_of(record)):
            possible.insert(0, "run_again")
        may = self.request.user.has_perm
        return {
            "record": record,
            "place": place,
            "where": _where(place),
            "queue": text(place.queue) if place else "",
            "job": job,
            "life": life(record, recalled.attempts, place, job),
            "record_tags": _tags(record),
            "buttons": [(ACTS[act], None) for act in possible if may(ACTS[act].permission)],
        }

    def act(self, act: Act) -> HttpResponse | None:
        """Carry out an act on this job; kill and delete are confirmed first."""
        if act.destroys and self.request.POST.get("post") != "yes":
            return self.confirm(act, self.jid, 1)
        if act.name == "run_again":
            self._run_again(act)
            return None
        at_s = None
        if act.name == "reschedule":
            at_s = acts.time_asked_s(self.request, _("Enter the time to which the job is to be rescheduled."))
        carried = jobacts.carry_out(act, [self.jid], at_s)
        if trouble := carried.trouble or carried.refused.get(self.jid):
            raise SidekickError(trouble)
        if carried.done:
            acts.log(self.request, act, f"{self._name()} {self.jid}".strip(), object_id=self.jid)
            messages.success(self.request, _done(act))
        else:
            messages.warning(self.request, _("The job is not where this can be done to it."))
        return None

    def _run_again(self, act: Act) -> None:
        console = get_console()
        found: Found = console.ask({"found": seek(console.keys, [self.jid], within_s=jobacts.SEARCH_S)})["found"]
        place = found.places.get(self.jid)
        record, _error = recall(lambda alias: find_record(alias, self.jid), None)
        if place and place.kind == "busy":
            raise SidekickError(_("The job is not where this can be done to it."))
        payload = place.payload if place else jobacts.payload_of(record) if record else None
        if payload is None:
            raise SidekickError(_("The job's arguments are not known any more."))
        jid = jobacts.run_again(payload)
        if jid is None:
            raise SidekickError(_("A client middleware has refused the job: it does not run again."))
        acts.log(self.request, act, f"{payload.get('class')} {self.jid} → {jid}", object_id=jid)
        link = format_html('<a href="{}">{}</a>', self.url("job", jid), jid)
        messages.success(self.request, format_html(_("The job runs again as {}."), link))

    def _name(self) -> str:
        record, _error = recall(lambda alias: find_record(alias, self.jid), None)
        return record.job_class if record else ""


def _recall(alias: str, jid: str, *, is_live: bool) -> Recalled:
    record = find_record(alias, jid)
    if record is None:
        return Recalled()
    attempts = JobAttempt.objects.using(alias).filter(record_id=jid).order_by("-finished_at", "-pk")
    if is_live:  # without tracebacks: what is polled is small
        told = attempts.defer("backtrace", "error_message")
        return Recalled(record, list(told[:MOST_ATTEMPTS])[::-1])
    siblings = _siblings(alias, record)
    return Recalled(record, list(attempts[:MOST_ATTEMPTS])[::-1], siblings)


def _siblings(alias: str, record: JobRecord) -> list[JobRecord]:
    rows: bounded.Records = JobRecord.objects.using(alias).all()
    if record.error_class:
        rows, _is_cut = bounded.window(bounded.leading(rows, "error_class", record.error_class), AMONG)
        rows = bounded.beside(rows, "job_class", record.job_class)
    else:
        rows, _is_cut = bounded.window(bounded.leading(rows, "job_class", record.job_class), AMONG)
        rows = bounded.beside(rows, "error_class", record.error_class)
    return [row for row in rows[: MOST_SIBLINGS + 1] if row.pk != record.pk][:MOST_SIBLINGS]


def _told(recalled: Recalled, job: Shown | None) -> dict[str, Any]:
    """What is painted once."""
    name, args, kwargs = _call_of(recalled.record, job)
    attempts = recalled.attempts
    return {
        "job_class": name,
        "runs": [Run(attempt, frames.of_python(attempt.backtrace)) for attempt in attempts],
        "trace": frames.of_lines(job.backtrace()) if job and not attempts else None,
        "args_json": _json({"args": args, "kwargs": kwargs} if kwargs else args),
        "call": as_call(name, args, kwargs),
        "siblings": recalled.siblings,
    }


def _call_of(record: JobRecord | None, job: Shown | None) -> tuple[str, Any, Any]:
    """What is called: as Redis has it, or else as it was kept."""
    if job:
        return job.job_class, job.args, job.kwargs
    return (record.job_class, record.args, record.kwargs) if record else ("", None, None)


def _tags(record: JobRecord | None) -> list[str]:
    tags = record.tags if record else None
    return [word(tag) for tag in tags] if isinstance(tags, list) else []


def _json(value: Any) -> str:
    if value is None:
        return ""
    try:
        return scrub(json.dumps(value, indent=2, ensure_ascii=False, default=str)[:MOST_TEXT])
    except (ValueError, RecursionError):
        return json_of(value)[:MOST_TEXT]


def _where(place: Location | None) -> str:
    """Say where a job is, what its moments do not say."""
    if place is None:
        return ""
    if place.kind == "queue":
        names = {"position": figure(place.position or 0), "size": figure(place.size or 0), "queue": text(place.queue)}
        return _("in the queue %(queue)s, number %(position)s of %(size)s to run") % names
    if place.kind == "busy":
        return _("busy on %(process)s") % {"process": text(place.process)}
    texts = {
        "retry": _("in retries, one of %(size)s"),
        "schedule": _("scheduled, one of %(size)s"),
        "dead": _("dead, one of %(size)s"),
    }
    return texts[place.kind] % {"size": figure(place.size or 0)}


def gap_text(gap: Gap) -> str:
    """Say how far a queue or a set was looked through."""
    names = {"looked": figure(gap.looked), "size": figure(gap.size), "name": text(gap.name)}
    texts = {
        "queue": _("not among the newest %(looked)s of %(size)s in the queue %(name)s"),
        "retry": _("not among the newest %(looked)s of %(size)s in retries"),
        "schedule": _("not among the newest %(looked)s of %(size)s scheduled ones"),
        "dead": _("not among the newest %(looked)s of %(size)s dead ones"),
    }
    return texts[gap.kind] % names


def _done(act: Act) -> str:
    return {
        "retry_now": _("The job was put on its queue."),
        "enqueue_now": _("The job was put on its queue."),
        "kill": _("The job was moved to the dead set."),
        "delete": _("The job was deleted."),
        "reschedule": _("The job was rescheduled."),
    }[act.name]
