"""The pages of retries, scheduled and dead: 100 jobs a page, filters, and the acts on what is shown."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, NamedTuple

from django.utils.translation import gettext_lazy, ngettext

from django_sidekick.broker.console import MOST_READ, Question, get_console
from django_sidekick.broker.sets import Member, Stretch, stretch
from django_sidekick.dashboard.acts import ACTS
from django_sidekick.dashboard.filters import Filter
from django_sidekick.dashboard.paging import ROWS, page_asked, pages
from django_sidekick.dashboard.setacts import SetActs
from django_sidekick.dashboard.show import figure
from django_sidekick.wire.shown import Shown, shown

LATE_S = 5.0
"""A job that waits so long after its time is said to be overdue."""

MOST_LINES = 200
"""Lines of a backtrace that a row shows."""


class Row(NamedTuple):
    """One job of a list. `name` is what the form calls it."""

    name: str
    score: float
    job: Shown
    backtrace: Sequence[str]
    is_late: bool


class Shelf(NamedTuple):
    """What a page shows of a set: rows, the rank of the first of them, and how many match among how many."""

    rows: tuple[Row, ...]
    first: int
    matching: int
    looked_from: int
    looked_at: int
    total: int

    @property
    def is_all(self) -> bool:
        """Tell whether the whole set was looked at."""
        return self.looked_at == self.total


class SetPage(SetActs):
    """A sorted set of jobs.

    Without a filter a page is 100 neighbours, however large the set. With one, 1,000 are looked through (fewer of
    very long ones), and the page says so when there are more; `from` in the URL looks at the next.
    """

    template = "django_sidekick/set.html"
    parts: ClassVar[Mapping[str, str]] = {"sk-set": "django_sidekick/parts/set.html"}
    when: ClassVar[Any]
    """What the score of a job says."""
    empty: ClassVar[Any]

    def questions(self) -> dict[str, Question]:
        """Ask for the neighbours to show, or to look through."""
        key, first, size = self.key(get_console()), self._first(), ROWS
        if any(self.meant):
            first, size = self._looked_from(), MOST_READ
        return {"stretch": stretch(key, first, size, newest_first=self.newest_first)}

    def show(self, answers: dict[str, Any]) -> dict[str, Any]:
        """Return the rows and what is said about them."""
        shelf = self._shelf(answers["stretch"])
        may = self.request.user.has_perm
        own = [(ACTS[name], None) for name in self.acts if may(ACTS[name].permission)]
        return {
            "shelf": shelf,
            "when": self.when,
            "empty": self.empty,
            "meant": self.meant,
            "scope": _scope(shelf, self.meant, newest_first=self.newest_first),
            "all_label": _all_label(shelf, self.meant),
            "pages": pages(self.request.GET, shelf.matching),
            "further": self._further(shelf),
            "filters": self.meant.chips(),
            "buttons": [(act, number) for act, number in own if act.name != "clear"],
            "can_reschedule": any(act.name == "reschedule" for act, _number in own),
            "clear": [(ACTS["clear"], shelf.total)] if may(ACTS["clear"].permission) else [],
        }

    def _first(self) -> int:
        return (page_asked(self.request.GET) - 1) * ROWS

    def _looked_from(self) -> int:
        asked = self.request.GET.get("from", "")
        return int(asked) if asked.isascii() and asked.isdigit() and len(asked) < 10 else 0

    def _shelf(self, found: Stretch) -> Shelf:
        pairs = [(member, shown(member.raw)) for member in found.members]
        looked_at, first, matching = len(pairs), found.first, found.total
        if any(self.meant):
            pairs = [pair for pair in pairs if self.meant.takes(pair[1])]
            matching = len(pairs)
            first = min(self._first(), max(matching - 1, 0) // ROWS * ROWS)
            pairs = pairs[first : first + ROWS]
        rows = tuple(map(self._row, pairs))
        return Shelf(rows, first, matching, found.first, looked_at, found.total)

    def _row(self, pair: tuple[Member, Shown]) -> Row:
        member, job = pair
        lines = job.backtrace()[:MOST_LINES]
        is_late = self.kept != "dead" and member.score < time.time() - LATE_S
        return Row(member.name, member.score, job, lines, is_late)

    def _further(self, shelf: Shelf) -> str:
        """Return the URL that looks at those that come next; '' if there are none."""
        begin = shelf.looked_from + shelf.looked_at
        if not any(self.meant) or not shelf.looked_at or begin >= shelf.total:
            return ""
        return self.meant.url(**{"from": str(begin)})


def _scope(shelf: Shelf, meant: Filter, *, newest_first: bool) -> str:
    """Say which part of the set is shown."""
    names = {name: figure(number) for name, number in shelf._asdict().items() if name != "rows"}
    if not any(meant):
        if len(shelf.rows) == shelf.total:
            return ngettext("%(total)s job", "%(total)s jobs", shelf.total) % names
        names["first"], names["last"] = (
            figure(shelf.first + 1),
            figure(shelf.first + len(shelf.rows)),
        )
        said = ngettext(
            "%(first)s to %(last)s of %(total)s job",
            "%(first)s to %(last)s of %(total)s jobs",
            shelf.total,
        )
        return said % names
    if shelf.is_all:
        return (
            ngettext(
                "%(matching)s of %(total)s job matches",
                "%(matching)s of %(total)s jobs match",
                shelf.total,
            )
            % names
        )
    return _scope_of_part(shelf, newest_first=newest_first) % names


def _scope_of_part(shelf: Shelf, *, newest_first: bool) -> str:
    if shelf.looked_from:
        return ngettext(
            "%(matching)s matches among %(looked_at)s of %(total)s jobs, after the first %(looked_from)s",
            "%(matching)s match among %(looked_at)s of %(total)s jobs, after the first %(looked_from)s",
            shelf.matching,
        )
    if newest_first:
        return ngettext(
            "%(matching)s matches among the newest %(looked_at)s of %(total)s jobs",
            "%(matching)s match among the newest %(looked_at)s of %(total)s jobs",
            shelf.matching,
        )
    return ngettext(
        "%(matching)s matches among the first %(looked_at)s of %(total)s jobs",
        "%(matching)s match among the first %(looked_at)s of %(total)s jobs",
        shelf.matching,
    )


def _all_label(shelf: Shelf, meant: Filter) -> str:
    """Say what is meant by all: exactly what the filter takes, in the whole set."""
    names = {"total": figure(shelf.total), "count": figure(shelf.matching)}
    if not any(meant):
        return ngettext("All: %(total)s job", "All: %(total)s jobs", shelf.total) % names
    if shelf.is_all:
        return ngettext("All that match: %(count)s job", "All that match: %(count)s jobs", shelf.matching) % names
    said = ngettext("All that match among the %(total)s job", "All that match among the %(total)s jobs", shelf.total)
    return said % names


class RetriesPage(SetPage):
    """What failed and is to run again, the next first."""

    name = "retries"
    kept = "retry"
    title = gettext_lazy("Retries")
    when = gettext_lazy("Next try")
    empty = gettext_lazy("No job waits for its next try.")
    acts = ("retry_now", "reschedule", "kill", "delete", "clear")


class ScheduledPage(SetPage):
    """What is to run later, the next first."""

    name = "scheduled"
    kept = "schedule"
    title = gettext_lazy("Scheduled")
    when = gettext_lazy("Due")
    empty = gettext_lazy("No job is scheduled.")
    acts = ("enqueue_now", "reschedule", "delete", "clear")


class DeadPage(SetPage):
    """What failed for good, the newest first."""

    name = "dead"
    kept = "dead"
    title = gettext_lazy("Dead")
    newest_first = True
    when = gettext_lazy("Died")
    empty = gettext_lazy("No job is dead.")
    acts = ("retry_now", "delete", "clear")
