"""The page of all queues."""

from __future__ import annotations

import time
from typing import Any, ClassVar

from django.contrib import messages
from django.http import HttpResponse
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from django_sidekick.broker import queues
from django_sidekick.broker.console import Question, get_console
from django_sidekick.broker.replies import count
from django_sidekick.dashboard import acts, names
from django_sidekick.dashboard.acts import Act
from django_sidekick.dashboard.emptying import emptying
from django_sidekick.dashboard.errand import Errand
from django_sidekick.dashboard.errandpage import ErrandPage
from django_sidekick.dashboard.filters import Filter
from django_sidekick.dashboard.paging import ROWS, page_asked, pages
from django_sidekick.dashboard.processes import unread
from django_sidekick.dashboard.show import figure, text

ERRAND = "queue:"
"""Before a queue's name, in an errand."""


class QueueActs(ErrandPage):
    """What a person can do to a queue: pause, resume, clear."""

    acts: ClassVar[tuple[str, ...]] = ("pause", "resume", "clear")

    def is_meant_by(self, kept: str) -> bool:
        """Tell whether an errand is on a queue."""
        return kept.startswith(ERRAND)

    def act_on(self, act: Act, name: str) -> HttpResponse | None:
        """Carry out an act on one queue; ask first, with the number, before it is cleared.

        Cleared is what waited when it was asked: what has been pushed since stays.
        """
        if act.name != "clear":
            self._set_paused(act, name)
            return None
        if "errand" in self.request.POST:
            confirmed = self.confirmed(act)
            return self._empty(act, confirmed) if confirmed else None
        console, asked_s, user = get_console(), time.time(), str(self.request.user.pk)
        size = console.ask({"size": queues.size(console.keys, name)})["size"]
        errand = Errand(ERRAND + name, act.name, user, Filter(), asked_s, 0.0, size)
        if self.request.POST.get("post") == "yes":
            return self._empty(act, errand)
        return self.confirm(act, _("queue %s") % text(name), size, errand=errand.token())

    def _set_paused(self, act: Act, name: str) -> None:
        console = get_console()
        is_pause = act.name == "pause"
        change = queues.pause if is_pause else queues.resume
        if not count(console.change([change(console.keys, name)])[0]):
            said = _("Queue %s is paused already.") if is_pause else _("Queue %s is not paused.")
            messages.info(self.request, said % text(name))
            return
        acts.log(self.request, act, _("queue %s") % text(name))
        if is_pause:
            said = _("1 queue is paused: nothing more is taken from %s. What has been taken runs.")
        else:
            said = _("1 queue goes on: jobs of %s are taken again, within 2 seconds.")
        messages.success(self.request, said % text(name))

    def _empty(self, act: Act, errand: Errand) -> HttpResponse | None:
        console, name = get_console(), errand.kept.removeprefix(ERRAND)
        line = (_("queue %s") % text(name))[:150]
        errand, progress = self.carry_out(act, errand, lambda e: emptying(console, name, e), line)
        if progress is None:
            self._say_deleted(name, errand.done)
            self.say_gone(errand.total - errand.done)
        return progress

    def say_gone(self, gone: int) -> None:
        """Say how many of the jobs that were meant had been taken by then."""
        if gone > 0:
            said = ngettext("%s job was not there any more.", "%s jobs were not there any more.", gone)
            messages.warning(self.request, said % figure(gone))

    def _say_deleted(self, name: str, deleted: int) -> None:
        said = ngettext(
            "Queue %(name)s: %(number)s job was deleted.",
            "Queue %(name)s: %(number)s jobs were deleted.",
            deleted,
        )
        messages.success(self.request, said % {"name": text(name), "number": figure(deleted)})


class QueuesPage(QueueActs):
    """Each queue, 100 a page: how much waits, for how long, who reads it."""

    name = "queues"
    title = gettext_lazy("Queues")
    template = "django_sidekick/queues.html"
    parts: ClassVar[dict[str, str]] = {"sk-queues": "django_sidekick/parts/queues.html"}

    def questions(self) -> dict[str, Question]:
        """Ask for a page of the queues whose names have `?q=`."""
        query = self.query.casefold()
        asked = page_asked(self.request.GET)
        return {"listed": queues.queues(get_console().keys, lambda name: query in text(name).casefold(), asked, ROWS)}

    @property
    def query(self) -> str:
        """Return the part of a name that is asked for."""
        return self.request.GET.get("q", "").strip()

    def act(self, act: Act) -> HttpResponse | None:
        """Carry out an act on the queue that the form names."""
        chosen = self.request.POST.getlist("_selected_action")
        if act.name == "clear" and "errand" in self.request.POST:
            return self.act_on(act, "")
        if not chosen:
            messages.warning(self.request, _("Select the queue that is meant."))
        for name in chosen:
            if answer := self.act_on(act, names.decoded(name)):
                return answer
        return None

    def show(self, answers: dict[str, Any]) -> dict[str, Any]:
        """Return the page, and what it leaves out."""
        listed: queues.Listed = answers["listed"]
        return {
            "queues": listed.queues,
            "pages": pages(self.request.GET, listed.matching),
            "query": self.query,
            "known": listed.known,
            "unread": unread(listed.processes),
        }
