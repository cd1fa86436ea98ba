"""The admin of the history: the list of jobs, read only, and the acts on those that are selected."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.contrib import admin
from django.contrib.admin.utils import unquote
from django.core.exceptions import PermissionDenied
from django.db import Error
from django.db.models import F, OrderBy
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils.html import format_html
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from django_sidekick.conf import get_settings
from django_sidekick.dashboard import recordacts, show
from django_sidekick.dashboard.acts import ACTS, DESTROY, OPERATE, VIEW
from django_sidekick.dashboard.columns import (
    ClassFilter,
    ErrorFilter,
    QueueFilter,
    StateFilter,
    TimeFilter,
)
from django_sidekick.dashboard.memory import why
from django_sidekick.dashboard.recordlist import RecordList
from django_sidekick.dashboard.table import BoundedPaginator, Records
from django_sidekick.models import JobRecord

Action = Callable[[Any, HttpRequest, Records], HttpResponse | None]


class LastIfUnknown(F):
    """A column whose unknown values stand last, whichever way it is ordered."""

    def asc(self, **words: Any) -> OrderBy:
        """Order upwards."""
        return super().asc(nulls_last=True, **words)

    def desc(self, **words: Any) -> OrderBy:
        """Order downwards."""
        return super().desc(nulls_last=True, **words)


def _action(name: str) -> Action:
    act = ACTS[name]
    needs = "destroy" if act.destroys else "operate"

    def run(kept: JobRecordAdmin, request: HttpRequest, rows: Records) -> HttpResponse | None:
        return recordacts.carry_out(kept.admin_site, request, act, rows)

    run.__name__ = name
    return admin.action(description=act.label, permissions=[needs])(run)


class JobRecordAdmin(admin.ModelAdmin):  # type: ignore[type-arg] # no generic at run time
    """The history as it was recorded. Each job opens on its own page, where it can be steered."""

    list_display = (
        "jid", "state_word", "job_class", "arguments", "queue", "changed", "wait", "run", "attempts", "error",
    )  # fmt: skip
    list_display_links = ("jid",)
    list_filter = (StateFilter, QueueFilter, ClassFilter, ErrorFilter, TimeFilter)
    search_fields = ("jid",)
    search_help_text = gettext_lazy(
        "A jid or how it begins; or a part of class, queue, error, message or arguments, among the newest jobs."
    )
    date_hierarchy = "changed_at"
    list_per_page = 100
    list_max_show_all = 100
    show_full_result_count = False
    show_facets = admin.ShowFacets.NEVER
    paginator = BoundedPaginator
    actions = tuple(map(_action, ("retry_now", "run_again", "kill", "delete")))
    change_list_template = "django_sidekick/records.html"

    def get_queryset(self, request: HttpRequest) -> Records:
        """Read where the history is kept."""
        alias = get_settings().history_database
        return JobRecord.objects.using(alias).order_by("-changed_at", "-jid")

    def get_changelist(self, request: HttpRequest, **words: Any) -> type[RecordList]:
        """Return the list that reads no more than its bounds."""
        return RecordList

    def get_search_results(
        self, request: HttpRequest, queryset: Records, search_term: str
    ) -> tuple[Records, bool]:
        """Leave it to RecordList, which knows what is asked beside it."""
        return queryset, False

    def lookup_allowed(self, lookup: str, value: Any, request: HttpRequest | None = None) -> bool:
        """Allow the filters and the date hierarchy, and nothing that would read the whole table."""
        names = {kind.parameter_name for kind in self.list_filter}
        part = lookup.removeprefix("changed_at__")
        if part in ("year", "month", "day") and request is not None:
            year = request.GET.get("changed_at__year", "")
            return year.isdigit() and 1970 <= int(year[:5]) < 9999
        return lookup in names or lookup in ("changed_at__gte", "changed_at__lt")

    def changelist_view(self, request: HttpRequest, extra_context: Any = None) -> HttpResponse:
        """Show the list, or why it cannot be read; an act that one may not do is refused, also by hand."""
        names = request.POST.getlist("action")
        for act in filter(None, map(ACTS.get, names)):
            if not request.user.has_perm(act.permission):
                raise PermissionDenied
        try:
            return super().changelist_view(request, extra_context)
        except Error as error:
            text = why(error, get_settings().history_database)
            context = {**self.admin_site.each_context(request), "title": _("Jobs"), "text": text}
            return TemplateResponse(request, "django_sidekick/records_away.html", context)

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: Any = None
    ) -> HttpResponse:
        """Lead to the job's own page."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        return HttpResponseRedirect(self._url("sidekick_job", unquote(object_id)))

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Show it to who may see jobs."""
        return bool(request.user.has_perm(VIEW))

    def has_module_permission(self, request: HttpRequest) -> bool:
        """As the list."""
        return self.has_view_permission(request)

    def has_add_permission(self, request: HttpRequest) -> bool:
        """Nobody writes history by hand."""
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Nor changes it."""
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Nor deletes it: that is retention's part."""
        return False

    def has_operate_permission(self, request: HttpRequest) -> bool:
        """Whether the acts that can be taken back are offered."""
        return bool(request.user.has_perm(OPERATE))

    def has_destroy_permission(self, request: HttpRequest) -> bool:
        """Whether those are that cannot."""
        return bool(request.user.has_perm(DESTROY))

    @admin.display(description=gettext_lazy("state"), ordering="state")
    def state_word(self, record: JobRecord) -> str:
        """Return the state as a word; its colour is the style sheet's."""
        return format_html(
            '<span class="sk-state sk-state-{}">{}</span>', record.state, record.get_state_display()
        )

    @admin.display(description=gettext_lazy("arguments"))
    def arguments(self, record: JobRecord) -> str:
        """Return the arguments in one line."""
        if record.args is None and record.kwargs is None:
            return show.NOTHING
        text = show.arguments({"args": record.args, "kwargs": record.kwargs})
        return format_html('<code class="sk-args">{}</code>', text)

    @admin.display(description=gettext_lazy("changed"), ordering="changed_at")
    def changed(self, record: JobRecord) -> str:
        """Return when it finished, or was seen last."""
        return show.time_element(record.changed_at)

    @admin.display(description=gettext_lazy("wait"), ordering=LastIfUnknown("wait_time"))
    def wait(self, record: JobRecord) -> str:
        """Return how long it waited."""
        return show.duration(record.wait_time and record.wait_time.total_seconds())

    @admin.display(description=gettext_lazy("run time"), ordering=LastIfUnknown("run_time"))
    def run(self, record: JobRecord) -> str:
        """Return how long the last run took."""
        return show.duration(record.run_time and record.run_time.total_seconds())

    @admin.display(description=gettext_lazy("error"), ordering="error_class")
    def error(self, record: JobRecord) -> str:
        """Return the last error and the beginning of its message."""
        if not record.error_class:
            return ""
        return format_html(
            '<span class="sk-error-class">{}</span> <span class="sk-message">{}</span>',
            record.error_class,
            record.error_message[:120],
        )

    def _url(self, name: str, *args: Any) -> str:
        return reverse(f"admin:{name}", args=args, current_app=self.admin_site.name)
