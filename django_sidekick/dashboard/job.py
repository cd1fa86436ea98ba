"""The page of job."""

from __future__ import annotations

from django.utils.translation import gettext_lazy as _

from django_sidekick.dashboard.page import LivePage


class JobPage(LivePage):
    """Not built yet."""

    name = "job"
    title = _("Job")
    template = "django_sidekick/page.html"
