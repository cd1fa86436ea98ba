"""The page of retries."""

from __future__ import annotations

from django.utils.translation import gettext_lazy as _

from django_sidekick.dashboard.page import LivePage


class RetriesPage(LivePage):
    """Not built yet."""

    name = "retries"
    title = _("Retries")
    template = "django_sidekick/page.html"


class ScheduledPage(LivePage):
    """Not built yet."""

    name = "scheduled"
    title = _("Scheduled")
    template = "django_sidekick/page.html"


class DeadPage(LivePage):
    """Not built yet."""

    name = "dead"
    title = _("Dead")
    template = "django_sidekick/page.html"
