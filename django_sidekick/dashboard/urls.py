"""The live pages' URLs, below the admin site's own: no URL wiring in the project."""

from __future__ import annotations

from django.contrib.admin import AdminSite
from django.urls import URLPattern, path

from django_sidekick.dashboard.busy import BusyPage
from django_sidekick.dashboard.job import JobPage
from django_sidekick.dashboard.metrics import MetricsPage
from django_sidekick.dashboard.overview import OverviewPage
from django_sidekick.dashboard.page import LivePage
from django_sidekick.dashboard.processes import ProcessesPage
from django_sidekick.dashboard.queues import QueuePage, QueuesPage
from django_sidekick.dashboard.search import SearchPage
from django_sidekick.dashboard.sets import DeadPage, RetriesPage, ScheduledPage

PAGES: tuple[tuple[str, type[LivePage]], ...] = (
    ("", OverviewPage),
    ("queues/", QueuesPage),
    ("queues/<path:queue>/", QueuePage),
    ("busy/", BusyPage),
    ("retries/", RetriesPage),
    ("scheduled/", ScheduledPage),
    ("dead/", DeadPage),
    ("processes/", ProcessesPage),
    ("metrics/", MetricsPage),
    ("job/<path:jid>/", JobPage),
    ("search/", SearchPage),
)


def urls(site: AdminSite, entry: str) -> list[URLPattern]:
    """Return the pages' URLs for one admin site; the overview also answers to `entry`, the index's link."""
    patterns = [
        path(route, site.admin_view(page.as_view(site=site)), name=f"sidekick_{page.name}")
        for route, page in PAGES
    ]
    return [*patterns, path("", patterns[0].callback, name=entry)]
