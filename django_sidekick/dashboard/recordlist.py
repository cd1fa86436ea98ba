"""The admin's list of jobs over a history of any length: which index leads, and what is bounded."""

from __future__ import annotations

import json
import re
from typing import Any

from django.contrib.admin.options import IncorrectLookupParameters
from django.contrib.admin.templatetags.admin_list import result_headers
from django.contrib.admin.views.main import ORDER_VAR, ChangeList
from django.core.paginator import InvalidPage
from django.db import connections
from django.db.models import F, OrderBy, Q, TextField
from django.db.models.functions import Cast
from django.http import HttpRequest
from django.utils import timezone
from django.utils.translation import ngettext

from django_sidekick.dashboard import bounded
from django_sidekick.dashboard.bounded import Records, count_text
from django_sidekick.dashboard.columns import TimeFilter, asked_for
from django_sidekick.dashboard.drill import Drill, drill
from django_sidekick.dashboard.show import figure, moment

MOST_JIDS = 1_000
"""Jobs whose jids begin as is asked that are shown."""

_JID = re.compile("[0-9a-f]{6,}")


class LastIfUnknown(F):
    """A column whose unknown values stand last, whichever way it is ordered."""

    def asc(self, **words: Any) -> OrderBy:
        """Order upwards."""
        return super().asc(nulls_last=True, **words)

    def desc(self, **words: Any) -> OrderBy:
        """Order downwards."""
        return super().desc(nulls_last=True, **words)


class RecordList(ChangeList):
    """One column's index leads, a time narrows it; all else is looked for among the newest rows that it finds.

    `note` says so, if that left something out.
    """

    note = ""
    dates = Drill(show=False)
    count_text = ""
    _is_narrowed = False

    def get_queryset(self, request: HttpRequest, exclude_parameters: Any = None) -> Records:
        """Return what is asked for: super() knows times and order, the rest, the search too, is narrowed here."""
        text, self.query = self.query, ""
        rows: Records = super().get_queryset(request, exclude_parameters)
        self.query = text
        asked = asked_for(self.params)
        if "\0" in self.query or any("\0" in value for value in asked.values()):
            return rows.none()
        if self.query and (found := self._by_jid(rows)) is not None:
            rows = found
        else:
            rows = self._newest(rows, asked)
            if self.query:
                rows = containing(rows, self.query)
        for column, value in asked.items():
            rows = bounded.beside(rows, column, value)
        return rows

    def get_results(self, request: HttpRequest) -> None:
        """Read a page, and say how many rows there are as far as that is known. All are never shown on one."""
        rows: Any = bounded.FoundOnce(self.queryset) if self._is_narrowed else self.queryset
        self.paginator = self.model_admin.get_paginator(request, rows, self.list_per_page)
        try:
            self.result_list = list(self.paginator.page(self.page_num).object_list)
        except InvalidPage:
            raise IncorrectLookupParameters from None
        self.result_count = self.paginator.count
        self.multi_page = self.result_count > self.list_per_page
        self.can_show_all = self.show_full_result_count = False
        self.show_admin_actions = bool(self.result_count)
        self.full_result_count = None
        is_whole = set(self.params) <= {ORDER_VAR}
        self.count_text = count_text(self.paginator, self.root_queryset.db, is_whole=is_whole)
        self.dates = self._dates()
        self.headers = list(result_headers(self))

    def get_ordering(self, request: HttpRequest, queryset: Records) -> list[Any]:
        """Return the order; upwards in time the jids go upwards too, for not each database reads an index both ways."""
        ordering: list[Any] = super().get_ordering(request, queryset)
        return [*ordering[:-1], "jid"] if ordering[0] == "changed_at" else ordering

    def get_ordering_field(self, field_name: Any) -> Any:
        """Return what a column is ordered by."""
        if field_name in ("wait_time", "run_time"):
            return LastIfUnknown(field_name)
        return super().get_ordering_field(field_name)

    def _dates(self) -> Drill:
        """The links of the date hierarchy: two steps into the index, whatever is filtered."""
        ends = []
        for order in ("changed_at", "-changed_at"):
            at = moment(self.root_queryset.order_by(order).values_list("changed_at", flat=True).first())
            ends.append(timezone.localtime(at).date() if at else None)
        year, month, day = (self.params.get(f"changed_at__{part}") for part in ("year", "month", "day"))
        chosen = [year, month or 1, day] if day else [year, month]  # as the admin reads a day without a month

        def link(**parts: int) -> str:
            new = {f"changed_at__{part}": number for part, number in parts.items()}
            return str(self.get_query_string(new, ["changed_at__"]))

        return drill([int(part) for part in chosen if part], ends[0], ends[1], link)

    def _newest(self, rows: Records, asked: dict[str, str]) -> Records:
        """Let an index lead, and cut to a window if there is more to be looked for; `asked` keeps the rest."""
        column = next(iter(asked), "")
        value = asked.pop(column) if bounded.is_indexed(column) else ""
        self._is_narrowed = bool(asked or self.query or self._is_sorted())
        if value and (self._is_narrowed or self._is_timed()):
            rows = bounded.leading(rows, column, value)
        elif value:
            rows = bounded.by_time(rows, column, value)
        if not self._is_narrowed:
            return rows
        rows, is_cut = bounded.window(rows)
        if is_cut:
            said = ngettext(
                "Only the newest %(most)s job is looked through.",
                "Only the newest %(most)s jobs are looked through.",
                bounded.WINDOW,
            )
            self.note = said % {"most": figure(bounded.WINDOW)}
        return rows

    def _is_timed(self) -> bool:
        """Whether a time is asked for: within it each index finds its rows."""
        return any(name == TimeFilter.parameter_name or name.startswith("changed_at") for name in self.params)

    def _is_sorted(self) -> bool:
        """Whether the order is one that no index has."""
        columns = self.get_ordering_field_columns() if ORDER_VAR in self.params else ()
        return bool(set(columns) - {self.list_display.index("changed_at")})

    def _by_jid(self, rows: Records) -> Records | None:
        """The rows whose jids are, or begin as, the text; None if there are none."""
        found = of_jid(rows, self.query)
        jids = list(found.order_by("jid").values_list("jid", flat=True)[: MOST_JIDS + 1])
        if len(jids) > MOST_JIDS:
            said = ngettext(
                "Only the first %(most)s job that begins so is shown.",
                "Only the first %(most)s jobs that begin so are shown.",
                MOST_JIDS,
            )
            self.note = said % {"most": figure(MOST_JIDS)}
        return rows.filter(jid__in=jids[:MOST_JIDS]) if jids else None


def of_jid(rows: Records, text: str) -> Records:
    """Return the row of a jid, or those whose jids begin so."""
    found = beginning(rows, text)
    return rows.filter(jid=text) if found is None else found


def beginning(rows: Records, text: str) -> Records | None:
    """Return the rows whose jids begin so, by the index; None for what is no beginning of a jid."""
    if not _JID.fullmatch(text):
        return None
    if connections[rows.db].vendor != "postgresql":  # whose LIKE, in Django's words, uses no index
        rows = rows.filter(jid__gte=text, jid__lt=text + "\U0010ffff")
    return rows.filter(jid__startswith=text)


def containing(rows: Records, text: str) -> Records:
    """Return the rows with the text in class, error, message or arguments; upper and lower case are alike."""
    rows = rows.alias(args_text=Cast("args", TextField()), kwargs_text=Cast("kwargs", TextField()))
    found = Q()
    for column in ("job_class", "queue", "error_class", "error_message"):
        found |= Q(**{f"{column}__icontains": text})
    escaped = json.dumps(text)[1:-1]
    for spelling in {text, escaped, json.dumps(text, ensure_ascii=False)[1:-1]}:
        found |= Q(args_text__icontains=spelling) | Q(kwargs_text__icontains=spelling)
    return rows.filter(found)
