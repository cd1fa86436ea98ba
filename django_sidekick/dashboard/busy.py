"""The page of what runs now, as of the processes' last beats."""

from __future__ import annotations

import time
from typing import Any, ClassVar, NamedTuple

from django.utils.translation import gettext_lazy, ngettext

from django_sidekick.broker import fleet
from django_sidekick.broker.console import Question, get_console
from django_sidekick.broker.fleet import Running
from django_sidekick.dashboard.filters import Filter
from django_sidekick.dashboard.names import decoded
from django_sidekick.dashboard.page import LivePage
from django_sidekick.dashboard.paging import ROWS, pages
from django_sidekick.dashboard.processes import sums, unread
from django_sidekick.dashboard.show import partly_read, text
from django_sidekick.wire.shown import Shown, shown


class Row(NamedTuple):
    """One running job, where it runs, and for how long, in seconds."""

    running: Running
    process: str
    job: Shown
    run_time_s: float | None


class BusyPage(LivePage):
    """Running jobs, the longest run first. `?q=` filters them; `?process=` shows those of one identity."""

    name = "busy"
    title = gettext_lazy("Busy")
    template = "django_sidekick/busy.html"
    parts: ClassVar[dict[str, str]] = {"sk-busy": "django_sidekick/parts/busy.html"}

    def questions(self) -> dict[str, Question]:
        """Ask what runs."""
        return {"work": fleet.work(get_console().keys, self.identity)}

    @property
    def identity(self) -> str:
        """Return the process that is asked for, '' for all."""
        return decoded(self.request.GET.get("process", ""))

    def show(self, answers: dict[str, Any]) -> dict[str, Any]:
        """Return a page of the rows that match."""
        work: fleet.Work = answers["work"]
        meant = Filter.of(self.request.GET)
        known = {process.identity: process.name for process in work.processes}
        now_s, rows = time.time(), []
        for running in work.running:
            if meant.takes_text(running.raw):
                since_s = running.since_s
                run_time_s = None if since_s is None else max(now_s - since_s, 0.0)
                process = known.get(running.identity, running.identity)
                rows.append(Row(running, process, shown(running.raw), run_time_s))
        listed = pages(self.request.GET, len(rows))
        return {
            "rows": rows[(listed.number - 1) * ROWS : listed.number * ROWS],
            "pages": listed,
            "meant": meant,
            "filters": meant.chips(),
            "process": text(known.get(self.identity, self.identity)),
            "cut": _cut(work),
            "unread": unread(work.known),
            "running": work.total,
            "sums": sums(work.processes),
        }


def _cut(work: fleet.Work) -> str:
    """Say that not all running jobs are read; '' if they are."""
    said = ngettext(
        "Only %(read)s of %(total)s running job is read.",
        "Only %(read)s of %(total)s running jobs are read.",
        work.total,
    )
    return partly_read(said, len(work.running), work.total)
