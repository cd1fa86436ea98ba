"""The admin of the history: the list of jobs, read only, and the acts on those that are selected."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from django.contrib import admin
from django.contrib.admin.utils import unquote
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from django_sidekick.broker.console import get_console
from django_sidekick.broker.lag import lag
from django_sidekick.conf import get_settings
from django_sidekick.dashboard.acts import ACTS, DESTROY, OPERATE, VIEW
from django_sidekick.dashboard.behind import behind
from django_sidekick.dashboard.bounded import BoundedPaginator, Records
from django_sidekick.dashboard.columns import (
    ClassFilter,
    ErrorFilter,
    QueueFilter,
    StateFilter,
    TimeFilter,
)
from django_sidekick.dashboard.recall import recall
from django_sidekick.dashboard.recordacts import RecordActs
from django_sidekick.dashboard.recordlist import RecordList, of_jid
from django_sidekick.exceptions import SidekickError
from django_sidekick.models import JobRecord


def _behind() -> list[str]:
    """Nothing, while Redis is away: what is recorded can be seen all the same."""
    console = get_console()
    try:
        return behind(console.ask({"lag": lag(console.keys)})["lag"])
    except SidekickError:
        return []


def _is_near(year: str) -> bool:
    """Tell whether it is a year of which every moment is one in every time zone."""
    return year.isascii() and year.isdigit() and len(year) == 4 and 1970 <= int(year) < 9999


Action = Callable[[Any, HttpRequest, Records], HttpResponse | None]


def _action(name: str) -> Action:
    act = ACTS[name]
    needs = "destroy" if act.destroys else "operate"

    def run(kept: JobRecordAdmin, request: HttpRequest, rows: Records) -> HttpResponse | None:
        return RecordActs.of(kept.admin_site, request).begin(act, rows)

    run.__name__ = name
    return admin.action(description=act.label, permissions=[needs])(run)


class JobRecordAdmin(admin.ModelAdmin):  # type: ignore[type-arg] # no generic at run time
    """The history as it was recorded. Each job opens on its own page, where it can be steered."""

    list_display = ("job_class", "state", "changed_at", "wait_time", "run_time", "attempts")
    """What is ordered by; a row shows queue, jid and arguments with the class, the error with the state."""
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
    actions = tuple(map(_action, RecordActs.acts))
    change_list_template = "django_sidekick/records.html"

    def get_queryset(self, request: HttpRequest) -> Records:
        """Read where the history is kept."""
        alias = get_settings().history_database
        return JobRecord.objects.using(alias).order_by("-changed_at", "-jid")

    def get_changelist(self, request: HttpRequest, **words: Any) -> type[RecordList]:
        """Return the list that reads no more than its bounds."""
        return RecordList

    def get_search_results(self, request: HttpRequest, queryset: Records, search_term: str) -> tuple[Records, bool]:
        """Look for a jid, in a field of a project's own model; the list's search is RecordList's."""
        return of_jid(queryset, search_term) if search_term else queryset, False

    def lookup_allowed(self, lookup: str, value: Any, request: HttpRequest | None = None) -> bool:
        """Allow the filters and the date hierarchy, and nothing that would read the whole table."""
        names = {kind.parameter_name for kind in self.list_filter}
        part = lookup.removeprefix("changed_at__")
        if part in ("year", "month", "day") and request is not None:
            return _is_near(request.GET.get("changed_at__year", ""))
        if lookup in ("changed_at__gte", "changed_at__lt"):  # what is no time at all is for Django to say
            return not str(value)[:4].isdigit() or _is_near(str(value)[:4])
        return lookup in names

    def changelist_view(self, request: HttpRequest, extra_context: Any = None) -> HttpResponse:
        """Show the list, or why it cannot be read; an act that one may not do is refused, also by hand."""
        names = request.POST.getlist("action")
        for act in filter(None, map(ACTS.get, names)):
            if not request.user.has_perm(act.permission):
                raise PermissionDenied
        own = {"title": _("Jobs"), "behind": _behind(), **(extra_context or {})}
        show: Callable[[], HttpResponse] = partial(super().changelist_view, request, own)
        if "errand" in request.POST:  # it names its jobs, whatever the list shows by now
            show = partial(RecordActs.of(self.admin_site, request).post, request)
        page, text = recall(lambda _alias: show(), None)
        if page is not None:
            return page
        context = {**self.admin_site.each_context(request), **own, "text": text}
        return TemplateResponse(request, "django_sidekick/records_away.html", context)

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: Any = None
    ) -> HttpResponse:
        """Lead to the job's own page."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        return HttpResponseRedirect(self._url("sidekick_job", unquote(object_id)))

    def history_view(self, request: HttpRequest, object_id: str, extra_context: Any = None) -> HttpResponse:
        """Lead there too: what was done to a job is in its own story, which opens without the history."""
        return self.change_view(request, object_id)

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Show it to whoever may see jobs."""
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

    def _url(self, name: str, *args: Any) -> str:
        return reverse(f"admin:{name}", args=args, current_app=self.admin_site.name)
