"""The entries on the admin's index. For an admin site of one's own: `register(site)`."""

from __future__ import annotations

from django.contrib import admin
from django.http import HttpRequest
from django.urls import URLPattern

from django_sidekick.dashboard import urls
from django_sidekick.dashboard.acts import VIEW
from django_sidekick.dashboard.records import JobRecordAdmin
from django_sidekick.models import JobRecord, Live


class LiveAdmin(admin.ModelAdmin):  # type: ignore[type-arg] # no generic at run time
    """Not a list of rows: the place of the live pages."""

    def get_urls(self) -> list[URLPattern]:
        """Return the live pages in the place of the model's own."""
        return urls.urls(self.admin_site, f"{self.opts.app_label}_{self.opts.model_name}_changelist")

    def has_module_permission(self, request: HttpRequest) -> bool:
        """Show the entry to whoever may see jobs."""
        return bool(request.user.has_perm(VIEW))

    def has_view_permission(self, request: HttpRequest, obj: Live | None = None) -> bool:
        """As the pages do."""
        return bool(request.user.has_perm(VIEW))

    def has_add_permission(self, request: HttpRequest) -> bool:
        """Nothing can be added to what is no table."""
        return False

    def has_change_permission(self, request: HttpRequest, obj: Live | None = None) -> bool:
        """Nor changed."""
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Live | None = None) -> bool:
        """Nor deleted."""
        return False


def register(site: admin.AdminSite) -> None:
    """Put jobs and live pages on an admin site. Done for the default one."""
    site.register(JobRecord, JobRecordAdmin)
    site.register(Live, LiveAdmin)


register(admin.site)
