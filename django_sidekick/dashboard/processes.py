"""The page of processes."""

from __future__ import annotations

from django.utils.translation import gettext_lazy as _

from django_sidekick.dashboard.page import LivePage


class ProcessesPage(LivePage):
    """Not built yet."""

    name = "processes"
    title = _("Processes")
    template = "django_sidekick/page.html"
