"""The overview: runs per day, and queues and processes in short."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import Any, ClassVar, NamedTuple

from django.utils.translation import gettext_lazy, ngettext

from django_sidekick.broker import figures, fleet, queues
from django_sidekick.broker.console import Question, get_console
from django_sidekick.broker.figures import Day
from django_sidekick.broker.lag import lag
from django_sidekick.dashboard.behind import behind
from django_sidekick.dashboard.page import LivePage
from django_sidekick.dashboard.processes import LATE_S, sums, unread
from django_sidekick.dashboard.show import partly_read

PERIODS = (
    (7, gettext_lazy("1 week")),
    (30, gettext_lazy("1 month")),
    (90, gettext_lazy("3 months")),
    (180, gettext_lazy("6 months")),
)
SHORT = 10
"""Queues and processes that stand here; their own pages have all."""

_WIDTH, _HEIGHT = 10, 100


class Column(NamedTuple):
    """One day of the chart: its figures, and its columns from above in the units of the drawing."""

    day: Day
    x: int
    processed: int
    failed: int

    @property
    def processed_top(self) -> int:
        """Return where the column of runs begins, from above."""
        return _HEIGHT - self.processed

    @property
    def failed_top(self) -> int:
        """Return where the column of failures begins, from above."""
        return _HEIGHT - self.failed


class OverviewPage(LivePage):
    """`?days=` is 7, 30, 90 or 180. Days are those of Sidekiq's counters: UTC."""

    name = "overview"
    title = gettext_lazy("Overview")
    template = "django_sidekick/overview.html"
    parts: ClassVar[dict[str, str]] = {
        "sk-behind": "django_sidekick/parts/behind.html",
        "sk-days": "django_sidekick/parts/days.html",
        "sk-short": "django_sidekick/parts/short.html",
    }

    @property
    def days(self) -> int:
        """Return the days asked for; a month for none that can be."""
        known = {str(days): days for days, _ in PERIODS}
        return known.get(self.request.GET.get("days", ""), 30)

    def questions(self) -> dict[str, Question]:
        """Ask for days, queues, processes, the server, and how far the history is behind."""
        keys, today = get_console().keys, datetime.now(UTC).date()
        return {
            "days": figures.days(keys, today, self.days),
            "queues": queues.queues(keys),
            "processes": fleet.processes(keys),
            "known": fleet.known(keys),
            "server": figures.server(),
            "lag": lag(keys),
        }

    def show(self, answers: dict[str, Any]) -> dict[str, Any]:
        """Draw the days; the fullest queues, and the busiest processes."""
        listed, days = answers["processes"], answers["days"]
        known: queues.Listed = answers["queues"]
        fullest = sorted(known.queues, key=lambda queue: (-queue.size, queue.name))
        busiest = sorted(listed, key=lambda process: (-process.busy, process.name))
        return {
            "behind": behind(answers["lag"]),
            "columns": _columns(days),
            "width": len(days) * _WIDTH,
            "height": _HEIGHT,
            "most": max(day.processed for day in days),
            "most_failed": max(day.failed for day in days),
            "period": self.days,
            "periods": PERIODS,
            "queues": fullest[:SHORT],
            "more_queues": max(known.known - SHORT, 0),
            "unread_queues": _unread(known),
            "unread": unread(answers["known"]),
            "processes": busiest[:SHORT],
            "more_processes": max(len(busiest) - SHORT, 0),
            "sums": sums(listed),
            "late_before_s": time.time() - LATE_S,
            "server": answers["server"],
        }


def _unread(listed: queues.Listed) -> str:
    said = ngettext(
        "Only the first %(read)s of %(total)s queue is read.",
        "Only the first %(read)s of %(total)s queues are read.",
        listed.known,
    )
    return partly_read(said, len(listed.queues), listed.known)


def _columns(days: list[Day]) -> list[Column]:
    """Runs and failures each on a scale of its own; what is not nothing can be seen."""
    most = max(day.processed for day in days) or 1
    most_failed = max(day.failed for day in days) or 1
    return [
        Column(day, index * _WIDTH, _high(day.processed, most), _high(day.failed, most_failed))
        for index, day in enumerate(days)
    ]


def _high(count: int, most: int) -> int:
    return max(_HEIGHT * count // most, 2) if count else 0
