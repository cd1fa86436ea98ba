"""Acts on jobs of a set: on those that were chosen at once, on all that match in slices, with progress."""

from __future__ import annotations

import time
from typing import ClassVar

from django.contrib import messages
from django.http import HttpResponse
from django.utils.functional import cached_property
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from django_sidekick.broker import sets
from django_sidekick.broker.console import Console, get_console
from django_sidekick.broker.moving import Moved, Planner, Source
from django_sidekick.dashboard import acts
from django_sidekick.dashboard.acts import Act
from django_sidekick.dashboard.errand import Errand, measure, move_of, mover, steps
from django_sidekick.dashboard.errandpage import ErrandPage
from django_sidekick.dashboard.filters import Filter
from django_sidekick.dashboard.show import figure
from django_sidekick.wire.shown import shown


class SetActs(ErrandPage):
    """The POST side of a page of a set."""

    kept: ClassVar[str]
    """Sidekiq's name of the set: retry, schedule or dead."""
    newest_first: ClassVar[bool] = False
    """Whether the page begins with the highest scores: of very many, all that match are among those then."""

    @cached_property
    def meant(self) -> Filter:
        """Return the filter of this page's URL: what an act on all of them is about."""
        return Filter.of(self.request.GET)

    def key(self, console: Console) -> str:
        """Return the set's key."""
        key: str = getattr(console.keys, self.kept)
        return key

    def is_meant_by(self, kept: str) -> bool:
        """Tell whether an errand is on this set."""
        return kept == self.kept

    def act(self, act: Act) -> HttpResponse | None:
        """Carry out an act on the chosen jobs, or on all that match; ask first where that is the rule."""
        post = self.request.POST
        if "errand" in post:
            errand = self.confirmed(act)
            return self._carry_out(act, errand) if errand else None
        at_s = None
        if act.name == "reschedule":
            at_s = acts.time_asked_s(self.request, _("Enter the time to which the jobs are to be rescheduled."))
        if act.name == "clear" or post.get("select_across") == "1":
            return self._all(act, at_s)
        names = list(dict.fromkeys(post.getlist("_selected_action")))
        if not names:
            messages.warning(self.request, _("Select the jobs that are meant."))
        elif act.destroys and post.get("post") != "yes":
            return self.confirm(act, str(self.title), len(names))
        else:
            self._selected(act, names, at_s)
        return None

    def _selected(self, act: Act, names: list[str], at_s: float | None) -> None:
        console = get_console()
        key, now_s = self.key(console), time.time()
        members = sets.find(console, key, names)
        planner = Planner(console.settings, console.keys, now_s)
        moves = [move_of(act.name, key, member, planner, at_s) for member in members]
        moved, refused = Moved(), moves.count(None)
        chosen = [move for move in moves if move]
        try:
            for part in mover(console, act.name, at_s).portions(Source(key), chosen):
                moved = moved.and_also(part)
        finally:
            self._log_selected(act, moved)
        gone = len(names) - len(members) + len(moved.gone)
        self._say(act, len(moved.done), refused + len(moved.refused), max(gone, 0))

    def _log_selected(self, act: Act, moved: Moved) -> None:
        if len(moved.done) == 1:
            job = shown(moved.done[0].raw)
            acts.log(self.request, act, f"{job.job_class} {job.jid}", object_id=job.jid)
        elif moved.done:
            acts.log(self.request, act, f"{self.title}: {len(moved.done):,}")

    def _all(self, act: Act, at_s: float | None) -> HttpResponse | None:
        console, asked_s = get_console(), time.time()
        total, until, place = measure(console, self.key(console), self.meant, newest_first=self.newest_first)
        if not total:
            messages.warning(self.request, _("No job matches: nothing was done."))
            return None
        user = str(self.request.user.pk)
        errand = Errand(self.kept, act.name, user, self.meant, asked_s, until, total, at_s)
        errand = errand._replace(place=place)
        if self.request.POST.get("post") == "yes":
            return self._carry_out(act, errand)
        what, words = str(self.title), self.meant.words()
        what = f"{what} ({words})" if words else what
        return self.confirm(act, what, total, note=self._note(act, total), errand=errand.token())

    def _note(self, act: Act, total: int) -> str:
        """Say what will not be expected: more may match than was looked through; the dead set holds only so many."""
        console, said = get_console(), []
        size = console.ask({"extent": sets.extent(self.key(console))})["extent"][0] if any(self.meant) else 0
        if size > sets.MOST_SEARCHED:
            part = _("Only %(looked)s of %(total)s jobs were looked through, in the order of the page: more may match.")
            said.append(part % {"looked": figure(sets.MOST_SEARCHED), "total": figure(size)})
        most = console.settings.dead_max_jobs
        if act.name == "kill" and total >= most:
            kept = ngettext(
                "The dead set keeps the newest %(most)s job; the others are dropped.",
                "The dead set keeps the newest %(most)s jobs; the others are dropped.",
                most - 1,
            )
            said.append(kept % {"most": figure(most - 1)})
        return " ".join(said)

    def _carry_out(self, act: Act, errand: Errand) -> HttpResponse | None:
        console, words = get_console(), errand.meant.words()[:100]
        line = f"{self.title} ({words})" if words else str(self.title)
        errand, progress = self.carry_out(act, errand, lambda e: steps(console, self.key(console), e), line)
        if progress is None:
            # a reschedule passes over what bears the new time already: that has not gone
            gone = 0 if act.name == "reschedule" else errand.total - errand.done - errand.refused
            self._say(act, errand.done, errand.refused, max(gone, 0))
        return progress

    def _say(self, act: Act, done: int, refused: int, gone: int) -> None:
        self.tell(messages.SUCCESS, done, _done(act, done))
        self.tell_refused(refused)
        if gone or not (done or refused):
            said = ngettext("%(count)s job was not there any more.", "%(count)s jobs were not there any more.", gone)
            messages.warning(self.request, said % {"count": figure(gone)})


def _done(act: Act, count: int) -> str:
    if act.name in ("retry_now", "enqueue_now"):
        return ngettext("%(count)s job was put on its queue.", "%(count)s jobs were put on their queues.", count)
    if act.name == "reschedule":
        return ngettext("%(count)s job has another time.", "%(count)s jobs have another time.", count)
    if act.name == "kill":
        return ngettext("%(count)s job was killed.", "%(count)s jobs were killed.", count)
    return ngettext("%(count)s job was deleted.", "%(count)s jobs were deleted.", count)
