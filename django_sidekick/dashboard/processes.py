"""The page of processes: each at its last beat, and how to quiet and stop them."""

from __future__ import annotations

import time
from typing import Any, ClassVar

from django.contrib import messages
from django.http import HttpResponse
from django.template.response import TemplateResponse
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from django_sidekick.broker import fleet
from django_sidekick.broker.console import Question, get_console
from django_sidekick.broker.fleet import Process
from django_sidekick.dashboard import acts, names
from django_sidekick.dashboard.acts import Act
from django_sidekick.dashboard.errand import Errand
from django_sidekick.dashboard.errandpage import ErrandPage
from django_sidekick.dashboard.paging import ROWS, pages
from django_sidekick.dashboard.show import figure, partly_read

LATE_S = 25.0
"""A beat comes every 10 s: two that are missing are said."""

SIGNALS = {"quiet": fleet.QUIET, "stop": fleet.STOP}


class ProcessesPage(ErrandPage):
    """The first 1,000 processes, 100 a page.

    An act reaches those that are chosen, or with select_across all; never embedded ones.
    What has been confirmed reaches those that the question was about, and none that has started since.
    """

    name = "processes"
    title = gettext_lazy("Processes")
    template = "django_sidekick/processes.html"
    parts: ClassVar[dict[str, str]] = {"sk-processes": "django_sidekick/parts/processes.html"}
    acts: ClassVar[tuple[str, ...]] = tuple(SIGNALS)

    def questions(self) -> dict[str, Question]:
        """Ask for the processes, with what they have been asked for."""
        keys = get_console().keys
        return {"processes": fleet.processes(keys), "known": fleet.known(keys)}

    def show(self, answers: dict[str, Any]) -> dict[str, Any]:
        """Filter by `?q=`, a part of name, tag, label or queue; sum up what is shown."""
        query = self.request.GET.get("q", "").strip()
        listed = [process for process in answers["processes"] if _has(process, query)]
        page = pages(self.request.GET, len(listed))
        return {
            "processes": listed[(page.number - 1) * ROWS : page.number * ROWS],
            "pages": page,
            "unread": unread(answers["known"]),
            "query": query,
            "known": len(answers["processes"]),
            "stoppable": sum(not process.is_embedded for process in listed),
            "sums": sums(listed),
            "late_before_s": time.time() - LATE_S,
        }

    def act(self, act: Act) -> HttpResponse | None:
        """Write the signal for each process that is meant; stopping, and what is done to all, is confirmed first."""
        post, errand = self.request.POST, None
        if "errand" in post and (errand := self.confirmed(act)) is None:
            return None
        meant = self._meant(errand)
        is_asked = act.destroys or post.get("select_across") == "1"
        if embedded := [process for process in meant if process.is_embedded]:
            messages.error(
                self.request,
                _("%s is embedded: it ends with the process it is a part of.") % embedded[0].name,
            )
        elif not meant:
            messages.warning(self.request, _("No process that lives is meant: nothing was done."))
        elif is_asked and post.get("post") != "yes":
            return self._confirm(act, meant)
        else:
            self._ask(act, meant)
            self._say_gone(errand.total - len(meant) if errand else 0)
        return None

    def is_meant_by(self, kept: str) -> bool:
        """Tell whether an errand is on processes."""
        return kept == self.name

    def _meant(self, errand: Errand | None) -> list[Process]:
        console, post = get_console(), self.request.POST
        living = console.ask({"processes": fleet.processes(console.keys)})["processes"]
        if errand:
            return [process for process in living if process.identity in errand.names]
        if post.get("select_across") == "1":
            query = self.request.GET.get("q", "").strip()
            return [p for p in living if _has(p, query) and not p.is_embedded]
        chosen = set(map(names.decoded, post.getlist("_selected_action")))
        return [process for process in living if process.identity in chosen]

    def _confirm(self, act: Act, meant: list[Process]) -> HttpResponse:
        what = ", ".join(p.name for p in meant[:10])
        errand = Errand.on(self.name, act.name, str(self.request.user.pk), [p.identity for p in meant])
        answer = self.confirm(act, what, len(meant), errand=errand.token())
        if isinstance(answer, TemplateResponse):
            answer.template_name = f"django_sidekick/{act.name}.html"
        return answer

    def _ask(self, act: Act, meant: list[Process]) -> None:
        console = get_console()
        for process in meant:
            console.change(fleet.signal(console.keys, process.identity, SIGNALS[act.name]))
            acts.log(self.request, act, process.name)
        if act.name == "quiet":
            said = ngettext(
                "%s process is asked to take no more jobs: it does so at its next beat, within 10 seconds.",
                "%s processes are asked to take no more jobs: they do so at their next beats, within 10 seconds.",
                len(meant),
            )
        else:
            said = ngettext(
                "%s process is asked to stop: it does so at its next beat, within 10 seconds.",
                "%s processes are asked to stop: they do so at their next beats, within 10 seconds.",
                len(meant),
            )
        messages.success(self.request, said % figure(len(meant)))

    def _say_gone(self, gone: int) -> None:
        if gone:
            said = ngettext("%s process was not there any more.", "%s processes were not there any more.", gone)
            messages.warning(self.request, said % figure(gone))


def sums(listed: list[Process]) -> dict[str, int]:
    """Return what these processes are together: threads, busy ones, use in percent, memory in bytes."""
    threads = sum(process.threads for process in listed)
    busy = sum(process.busy for process in listed)
    return {
        "processes": len(listed),
        "threads": threads,
        "busy": busy,
        "use": min(round(100 * busy / threads), 100) if threads else 0,
        "rss_bytes": sum(process.rss_bytes or 0 for process in listed),
    }


def unread(known: int) -> str:
    """Say that a page has not read all processes; '' if it has."""
    said = ngettext(
        "Only the first %(read)s of %(total)s process is read.",
        "Only the first %(read)s of %(total)s processes are read.",
        known,
    )
    return partly_read(said, min(known, fleet.MOST_LISTED), known)


def _has(process: Process, query: str) -> bool:
    words = (process.identity, process.name, process.tag, *process.labels, *process.reads)
    return not query or query.casefold() in "\n".join(words).casefold()
