"""Acts on the jobs that are selected in the list of the history."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.contrib import messages
from django.contrib.admin import AdminSite
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from django_sidekick.dashboard import acts, jobacts
from django_sidekick.dashboard.acts import Act
from django_sidekick.dashboard.show import figure
from django_sidekick.dashboard.table import Records
from django_sidekick.exceptions import SidekickError

MOST_AT_ONCE = 1_000
"""Jobs that one act is done to: each is looked for in Redis. The lists of Redis itself have acts on more."""


def carry_out(
    site: AdminSite, request: HttpRequest, act: Act, rows: Records
) -> HttpResponse | None:
    """Do an act to the rows' jobs, at most 1,000; ask first where it destroys, or where all that match are meant.

    Return a page to show, or None when all is done or said.
    """
    jids = list(rows.values_list("jid", flat=True)[: MOST_AT_ONCE + 1])
    if len(jids) > MOST_AT_ONCE:
        text = ngettext(
            "These are more than %(most)s job: narrow the list, or use the page of retries or of dead jobs.",
            "These are more than %(most)s jobs: narrow the list, or use the page of retries or of dead jobs.",
            MOST_AT_ONCE,
        )
        messages.error(request, text % {"most": figure(MOST_AT_ONCE)})
        return None
    is_across = request.POST.get("select_across") == "1"
    if (act.destroys or is_across) and request.POST.get("post") != "yes":
        return _confirm(site, request, act, len(jids))
    if act.name == "run_again":
        _run_again(request, act, rows)
        return None
    try:
        carried = jobacts.carry_out(act, jids)
    except SidekickError as error:
        messages.error(request, str(error))
        return None
    _log(request, act, carried.done)
    _say(request, act, len(carried.done), len(carried.missed))
    return None


def _run_again(request: HttpRequest, act: Act, rows: Records) -> None:
    """A new job for each; where Redis fails, those that were enqueued are said and logged all the same."""
    done, missed, refused = [], 0, 0
    try:
        for record in rows[:MOST_AT_ONCE]:
            payload = jobacts.payload_of(record)
            if payload is None:
                missed += 1
                continue
            if jobacts.run_again(payload) is None:
                refused += 1
            else:
                done.append(record.jid)
    except SidekickError as error:
        messages.error(request, str(error))
    _log(request, act, done)
    if missed:
        text = ngettext(
            "%(count)s job cannot run again: its arguments were not kept.",
            "%(count)s jobs cannot run again: their arguments were not kept.",
            missed,
        )
        messages.warning(request, text % {"count": figure(missed)})
    if refused:
        text = ngettext(
            "%(count)s job does not run again: a client middleware has refused it.",
            "%(count)s jobs do not run again: a client middleware has refused them.",
            refused,
        )
        messages.error(request, text % {"count": figure(refused)})
    if done:
        _say(request, act, len(done), 0)


def _log(request: HttpRequest, act: Act, done: Sequence[str]) -> None:
    if len(done) == 1:
        acts.log(request, act, done[0], object_id=done[0])
    elif done:
        acts.log(request, act, f"{len(done):,}: {', '.join(done)}")


def _say(request: HttpRequest, act: Act, done: int, missed: int) -> None:
    if done:
        messages.success(request, _done(act, done) % {"count": figure(done)})
    if missed:
        text = ngettext(
            "%(count)s job is not where this can be done to it, or was not found in Redis.",
            "%(count)s jobs are not where this can be done to them, or were not found in Redis.",
            missed,
        )
        messages.warning(request, text % {"count": figure(missed)})


def _done(act: Act, count: int) -> str:
    if act.name == "run_again":
        return ngettext("%(count)s job runs again.", "%(count)s jobs run again.", count)
    if act.name == "kill":
        return ngettext(
            "%(count)s job was moved to the dead set.",
            "%(count)s jobs were moved to the dead set.",
            count,
        )
    if act.name == "delete":
        return ngettext("%(count)s job was deleted.", "%(count)s jobs were deleted.", count)
    return ngettext(
        "%(count)s job was put on its queue.", "%(count)s jobs were put on their queues.", count
    )


def _confirm(site: AdminSite, request: HttpRequest, act: Act, count: int) -> HttpResponse:
    context: dict[str, Any] = {
        **site.each_context(request),
        "title": _("Jobs"),
        "page": "records",
        "act": act,
        "what": _("Jobs"),
        "count": count,
        "fields": acts.repeated(request),
    }
    return TemplateResponse(request, "django_sidekick/confirm.html", context)
