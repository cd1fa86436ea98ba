"""Acts on jobs of the list of the history: on those that are selected at once, on very many in slices, with progress."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import ClassVar

from django.contrib import messages
from django.contrib.admin import AdminSite
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.http import HttpRequest, HttpResponse
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from django_sidekick.conf import get_settings
from django_sidekick.dashboard import acts, jobacts
from django_sidekick.dashboard.acts import Act
from django_sidekick.dashboard.bounded import MOST_COUNTED, Records
from django_sidekick.dashboard.errand import Errand
from django_sidekick.dashboard.errandpage import ErrandPage
from django_sidekick.dashboard.sentences import sentence
from django_sidekick.dashboard.show import figure
from django_sidekick.exceptions import SidekickError
from django_sidekick.models import JobRecord

MOST_AT_ONCE = 1_000
"""Jobs that are looked for in Redis at once: more are done in slices of so many."""

MOST = MOST_COUNTED
"""Jobs that one act is done to: as many as the list has pages for."""


class RecordActs(ErrandPage):
    """The POST side of the list. What has been confirmed is done to the jobs that the question was about."""

    name = "records"
    title = gettext_lazy("Jobs")
    acts: ClassVar[tuple[str, ...]] = ("retry_now", "run_again", "kill", "delete")

    @classmethod
    def of(cls, site: AdminSite, request: HttpRequest) -> RecordActs:
        """Return it for one request to the list of a site."""
        page = cls(site=site)
        page.setup(request)
        return page

    def is_meant_by(self, kept: str) -> bool:
        """Tell whether an errand is on jobs of this list."""
        return kept == self.name

    def begin(self, act: Act, rows: Records) -> HttpResponse | None:
        """Do an act to the rows' jobs; ask first where it destroys, or where all that match are meant.

        Return a page to show, or None when all is done or said.
        """
        try:
            return self._begin(act, rows)
        except SidekickError as error:
            messages.error(self.request, sentence(error))
            return None

    def _begin(self, act: Act, rows: Records) -> HttpResponse | None:
        most = MOST_AT_ONCE if act.name == "run_again" else MOST
        jids = list(rows.values_list("jid", flat=True)[: most + 1])
        post = self.request.POST
        is_across = post.get("select_across") == "1"
        if not jids:
            messages.warning(self.request, _("No job matches: nothing was done."))
        elif len(jids) > most:
            self._refuse(most)
        else:
            if not is_across:
                self._say_left_out(len({*post.getlist(ACTION_CHECKBOX_NAME)} - {*jids}))
            errand = Errand.on(self.name, act.name, str(self.request.user.pk), jids)
            if not (act.destroys or is_across) or post.get("post") == "yes":
                return self._carry_out(act, errand)
            return self.confirm(act, str(self.title), len(jids), errand=errand.token())
        return None

    def act(self, act: Act) -> HttpResponse | None:
        """Carry out, or go on with, what was confirmed."""
        errand = self.confirmed(act)
        return self._carry_out(act, errand) if errand else None

    def _carry_out(self, act: Act, errand: Errand) -> HttpResponse | None:
        if act.name == "run_again":
            self._run_again(act, errand.names)
        elif errand.total <= MOST_AT_ONCE:
            self._at_once(act, errand)
        else:
            errand, progress = self.carry_out(act, errand, lambda e: _steps(act, e), str(self.title))
            if progress:
                return progress
            self._say(act, errand.done, errand.total - errand.done - errand.refused, errand.refused)
        return None

    def _at_once(self, act: Act, errand: Errand) -> None:
        carried = jobacts.carry_out(act, errand.names, asked_s=errand.asked_s)
        self._log(act, carried.done)
        if carried.trouble:
            messages.error(self.request, carried.trouble)
        self._say(act, len(carried.done), len(carried.missed), len(carried.refused))

    def _run_again(self, act: Act, jids: Sequence[str]) -> None:
        """A new job for each; where Redis fails, those that were enqueued are said and logged all the same."""
        records = JobRecord.objects.using(get_settings().history_database).in_bulk(jids)
        done, missed, refused = [], 0, 0
        try:
            for jid in jids:
                record = records.get(jid)
                payload = jobacts.payload_of(record) if record else None
                if payload is None:
                    missed += 1
                elif jobacts.run_again(payload) is None:
                    refused += 1
                else:
                    done.append(jid)
        except SidekickError as error:
            messages.error(self.request, sentence(error))
        finally:
            self._log(act, done)
        self._say_not_run(missed, refused)
        self._say(act, len(done), 0, 0)

    def _log(self, act: Act, done: Sequence[str]) -> None:
        if len(done) == 1:
            acts.log(self.request, act, done[0], object_id=done[0])
        elif done:
            acts.log(self.request, act, f"{len(done):,}: {', '.join(done)}")

    def _say(self, act: Act, done: int, missed: int, refused: int) -> None:
        self.tell(messages.SUCCESS, done, _done(act, done))
        self.tell_refused(refused)
        text = ngettext(
            "%(count)s job is not where this can be done to it, or was not found in Redis.",
            "%(count)s jobs are not where this can be done to them, or were not found in Redis.",
            missed,
        )
        self.tell(messages.WARNING, missed, text)

    def _say_left_out(self, count: int) -> None:
        text = ngettext(
            "%(count)s selected job has changed and is not in this list any more: it is left alone.",
            "%(count)s selected jobs have changed and are not in this list any more: they are left alone.",
            count,
        )
        self.tell(messages.WARNING, count, text)

    def _say_not_run(self, missed: int, refused: int) -> None:
        text = ngettext(
            "%(count)s job cannot run again: its arguments were not kept.",
            "%(count)s jobs cannot run again: their arguments were not kept.",
            missed,
        )
        self.tell(messages.WARNING, missed, text)
        text = ngettext(
            "%(count)s job does not run again: a client middleware has refused it.",
            "%(count)s jobs do not run again: a client middleware has refused them.",
            refused,
        )
        self.tell(messages.ERROR, refused, text)

    def _refuse(self, most: int) -> None:
        text = ngettext(
            "These are more than %(most)s job: narrow the list, or use the page of retries or of dead jobs.",
            "These are more than %(most)s jobs: narrow the list, or use the page of retries or of dead jobs.",
            most,
        )
        messages.error(self.request, text % {"most": figure(most)})


def _steps(act: Act, errand: Errand) -> Iterator[Errand]:
    """Carry out slice after slice; yield the errand as it stands after each. What is done is not named any more."""
    while not errand.is_over:
        jids, later = errand.names[:MOST_AT_ONCE], errand.names[MOST_AT_ONCE:]
        carried = jobacts.carry_out(act, jids, asked_s=errand.asked_s)
        names = (*carried.left, *later)
        errand = errand._replace(
            done=errand.done + len(carried.done),
            refused=errand.refused + len(carried.refused),
            names=names,
            is_over=not names,
        )
        yield errand
        if carried.trouble:
            raise SidekickError(carried.trouble)


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
    return ngettext("%(count)s job was put on its queue.", "%(count)s jobs were put on their queues.", count)
