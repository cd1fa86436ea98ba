"""The page of metrics: each class' runs and run times, from Sidekiq's own buckets."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, ClassVar

from django.utils.translation import gettext_lazy, ngettext

from django_sidekick.broker import figures
from django_sidekick.broker.console import Question, get_console
from django_sidekick.broker.figures import ClassFigures
from django_sidekick.dashboard.page import LivePage
from django_sidekick.dashboard.paging import ROWS, pages

ORDERS: dict[str, Callable[[ClassFigures], Any]] = {
    "class": lambda row: row.job_class,
    "processed": lambda row: -row.processed,
    "failed": lambda row: -row.failed,
    "share": lambda row: -row.failed_percent,
    "mean": lambda row: -(row.mean_s or 0.0),
    "total": lambda row: -row.total_s,
}
HEADS = (
    ("class", gettext_lazy("Class")),
    ("processed", gettext_lazy("Processed")),
    ("failed", gettext_lazy("Failed")),
    ("share", gettext_lazy("Share that failed")),
    ("mean", gettext_lazy("Mean run time")),
    ("total", gettext_lazy("Run time in all")),
)


class MetricsPage(LivePage):
    """`?minutes=` names the period, `?o=` the order, `?q=` a part of the class' name."""

    name = "metrics"
    title = gettext_lazy("Metrics")
    template = "django_sidekick/metrics.html"
    parts: ClassVar[dict[str, str]] = {"sk-metrics": "django_sidekick/parts/metrics.html"}

    @property
    def minutes(self) -> int:
        """Return the period asked for; the last hour for none that there is."""
        asked = self.request.GET.get("minutes", "")
        known = {str(minutes): minutes for minutes in figures.MINUTES}
        return known.get(asked, figures.MINUTES[0])

    def questions(self) -> dict[str, Question]:
        """Ask for the buckets of the period."""
        now = datetime.now(UTC)
        return {"metrics": figures.metrics(get_console().keys, now, self.minutes)}

    def show(self, answers: dict[str, Any]) -> dict[str, Any]:
        """Return the classes that match, in the order asked for."""
        query = self.request.GET.get("q", "").strip()
        order = self.request.GET.get("o", "")
        rows = [row for row in answers["metrics"] if query.casefold() in row.job_class.casefold()]
        order = order if order in ORDERS else "total"
        rows.sort(key=ORDERS[order])
        listed = pages(self.request.GET, len(rows))
        return {
            "rows": rows[(listed.number - 1) * ROWS : listed.number * ROWS],
            "pages": listed,
            "query": query,
            "minutes": self.minutes,
            "hidden": [(n, self.request.GET[n]) for n in ("minutes", "o") if n in self.request.GET],
            "periods": [(m, _period(m), self._link(minutes=str(m))) for m in figures.MINUTES],
            "heads": [(key, label, self._link(o=key), key == order) for key, label in HEADS],
        }

    def _link(self, **changes: str) -> str:
        asked = self.request.GET.copy()
        for name in ("live", "p"):
            asked.pop(name, None)
        for name, value in changes.items():
            asked[name] = value
        return f"?{asked.urlencode()}"


def _period(minutes: int) -> str:
    if minutes < 120:
        return ngettext("%s minute", "%s minutes", minutes) % minutes
    return ngettext("%s hour", "%s hours", minutes // 60) % (minutes // 60)
