"""The page of busy."""

from __future__ import annotations

from django.utils.translation import gettext_lazy as _

from django_sidekick.dashboard.page import LivePage


class BusyPage(LivePage):
    """Not built yet."""

    name = "busy"
    title = _("Busy")
    template = "django_sidekick/page.html"
