"""The page of overview."""

from __future__ import annotations

from django.utils.translation import gettext_lazy as _

from django_sidekick.dashboard.page import LivePage


class OverviewPage(LivePage):
    """Not built yet."""

    name = "overview"
    title = _("Overview")
    template = "django_sidekick/page.html"
