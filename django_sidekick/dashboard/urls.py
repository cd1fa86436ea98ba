"""The live pages' URLs, below the admin site's own: no URL wiring in the project."""

from __future__ import annotations

from django.contrib.admin import AdminSite
from django.urls import URLPattern, path, register_converter

from django_sidekick.dashboard.busy import BusyPage
from django_sidekick.dashboard.job import JobPage
from django_sidekick.dashboard.metrics import MetricsPage
from django_sidekick.dashboard.names import decoded, encoded
from django_sidekick.dashboard.overview import OverviewPage
from django_sidekick.dashboard.page import LivePage
from django_sidekick.dashboard.processes import ProcessesPage
from django_sidekick.dashboard.queue import QueuePage
from django_sidekick.dashboard.queues import QueuesPage
from django_sidekick.dashboard.search import SearchPage
from django_sidekick.dashboard.sets import DeadPage, RetriesPage, ScheduledPage


class NameConverter:
    """A name of anything in Redis as a part of a URL: any name has a URL, and any URL a name."""

    regex = r"[\s\S]*?"

    def to_python(self, value: str) -> str:
        """Return the name."""
        return decoded(value)

    def to_url(self, value: str) -> str:
        """Return the part of the URL, not yet quoted."""
        return encoded(value)


register_converter(NameConverter, "sidekick_name")

PAGES: tuple[tuple[str, type[LivePage]], ...] = (
    ("", OverviewPage),
    ("queues/", QueuesPage),
    ("queues/<sidekick_name:queue>/", QueuePage),
    ("busy/", BusyPage),
    ("retries/", RetriesPage),
    ("scheduled/", ScheduledPage),
    ("dead/", DeadPage),
    ("processes/", ProcessesPage),
    ("metrics/", MetricsPage),
    ("job/<sidekick_name:jid>/", JobPage),
    ("search/", SearchPage),
)


def urls(site: AdminSite, entry: str) -> list[URLPattern]:
    """Return the pages' URLs for one admin site; the overview also answers to `entry`, the index's link."""
    patterns = [
        path(route, site.admin_view(page.as_view(site=site)), name=f"sidekick_{page.name}") for route, page in PAGES
    ]
    return [*patterns, path("", patterns[0].callback, name=entry)]
