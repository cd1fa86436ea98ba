"""The page of metrics."""

from __future__ import annotations

from django.utils.translation import gettext_lazy as _

from django_sidekick.dashboard.page import LivePage


class MetricsPage(LivePage):
    """Not built yet."""

    name = "metrics"
    title = _("Metrics")
    template = "django_sidekick/page.html"
