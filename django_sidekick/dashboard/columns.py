"""What the list of jobs can be narrowed by: each choice is found without a look at the whole table."""

from __future__ import annotations

from datetime import timedelta
from typing import Any, ClassVar

from django.contrib.admin import ModelAdmin, SimpleListFilter
from django.http import HttpRequest
from django.utils import timezone
from django.utils.translation import gettext_lazy as _
from django.utils.translation import pgettext_lazy

from django_sidekick.conf import get_settings
from django_sidekick.dashboard.bounded import Records, values_of
from django_sidekick.dashboard.show import class_element
from django_sidekick.models import JobRecord, midnight


class ColumnFilter(SimpleListFilter):
    """One value of one column. RecordList narrows by it: only there is it known which index leads."""

    column = ""

    def lookups(self, request: HttpRequest, model_admin: ModelAdmin[Any]) -> list[tuple[str, Any]]:
        """Return the values there are, and the one that is asked for."""
        values = self.values()
        asked = request.GET.get(str(self.parameter_name))
        if asked and asked not in values:
            values.append(asked)
        return [(value, value) for value in values]

    def values(self) -> list[str]:
        """Return the values to choose from."""
        return values_of(self.column, get_settings().history_database)

    def queryset(self, request: HttpRequest, queryset: Records) -> Records:
        """Leave it to RecordList."""
        return queryset


class StateFilter(ColumnFilter):
    """By what the last event said."""

    title = _("state")
    column = parameter_name = "state"

    def lookups(self, request: HttpRequest, model_admin: ModelAdmin[Any]) -> list[tuple[str, Any]]:
        """Return the states that are written."""
        return [(s.value, s.label) for s in JobRecord.State if s != JobRecord.State.BUSY]


class ClassFilter(ColumnFilter):
    """By class."""

    title = _("class")
    column, parameter_name = "job_class", "class"

    def lookups(self, request: HttpRequest, model_admin: ModelAdmin[Any]) -> list[tuple[str, Any]]:
        """Return them as they are shown elsewhere: long names break at their dots."""
        return [(value, class_element(value)) for value, _ in super().lookups(request, model_admin)]


class QueueFilter(ColumnFilter):
    """By queue: those of the newest jobs."""

    title = _("queue")
    column = parameter_name = "queue"


class ErrorFilter(ColumnFilter):
    """By the class of the last error."""

    title = _("error")
    column, parameter_name = "error_class", "error"


COLUMNS: tuple[type[ColumnFilter], ...] = (ErrorFilter, ClassFilter, StateFilter, QueueFilter)
"""The first one that is asked for leads, if it has an index: errors are the rarest, states the most common."""


class TimeFilter(SimpleListFilter):
    """By when it was seen last."""

    title = _("time")
    parameter_name = "time"
    spans: ClassVar = {"hour": timedelta(hours=1), "week": timedelta(days=7), "month": timedelta(days=30)}

    def lookups(self, request: HttpRequest, model_admin: ModelAdmin[Any]) -> list[tuple[str, Any]]:
        """Return the times to choose from."""
        return [
            ("hour", _("past hour")),
            ("today", pgettext_lazy("time", "today")),
            ("week", _("past 7 days")),
            ("month", _("past 30 days")),
        ]

    def queryset(self, request: HttpRequest, queryset: Records) -> Records:
        """Every index ends with the time: it narrows whatever leads."""
        chosen = str(self.value())
        if chosen == "today":
            return queryset.filter(changed_at__gte=midnight())
        if chosen in self.spans:
            return queryset.filter(changed_at__gte=timezone.now() - self.spans[chosen])
        return queryset


def asked_for(params: dict[str, Any]) -> dict[str, str]:
    """Return the columns that a query string narrows by, with their values, the leading one first."""
    names = {kind.column: str(kind.parameter_name) for kind in COLUMNS}
    return {column: str(params[name]) for column, name in names.items() if params.get(name)}
