"""The page of search."""

from __future__ import annotations

from django.utils.translation import gettext_lazy as _

from django_sidekick.dashboard.page import LivePage


class SearchPage(LivePage):
    """Not built yet."""

    name = "search"
    title = _("Search")
    template = "django_sidekick/page.html"
