"""The live pages' URLs, below the admin site's own: no URL wiring in the project."""

from __future__ import annotations

import re

from django.contrib.admin import AdminSite
from django.urls import URLPattern, path, register_converter

from django_sidekick.dashboard.busy import BusyPage
from django_sidekick.dashboard.job import JobPage
from django_sidekick.dashboard.metrics import MetricsPage
from django_sidekick.dashboard.overview import OverviewPage
from django_sidekick.dashboard.page import LivePage
from django_sidekick.dashboard.processes import ProcessesPage
from django_sidekick.dashboard.queues import QueuePage, QueuesPage
from django_sidekick.dashboard.search import SearchPage
from django_sidekick.dashboard.sets import DeadPage, RetriesPage, ScheduledPage

_PLAIN = re.compile(r"(?![~/])(?!.*(?:^|/)\.{0,2}(?:/|$))[^\x00-\x1f\x7f-\x9f\ud800-\udfff\u2028\u2029]+")


class NameConverter:
    """A name of anything in Redis as a part of a URL: as it is, or as `~` and the hex digits of its UTF-8.

    The second is for what a URL or a browser would change: control characters, bytes that are no UTF-8 (lone
    surrogates here), empty names and segments, dots. Any name has a URL, and any URL a name.
    """

    regex = r"[\s\S]*?"

    def to_python(self, value: str) -> str:
        """Return the name; what only looks like hex digits is a name as it stands."""
        if value.startswith("~"):
            try:
                return bytes.fromhex(value[1:]).decode(errors="surrogatepass")
            except ValueError:
                return value
        return value

    def to_url(self, value: str) -> str:
        """Return the part of the URL, not yet quoted."""
        if _PLAIN.fullmatch(value):
            return value
        return f"~{value.encode(errors='surrogatepass').hex()}"


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
        path(route, site.admin_view(page.as_view(site=site)), name=f"sidekick_{page.name}")
        for route, page in PAGES
    ]
    return [*patterns, path("", patterns[0].callback, name=entry)]
