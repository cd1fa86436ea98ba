"""The live pages: queues, and one queue."""

from __future__ import annotations

from django.utils.translation import gettext_lazy as _

from django_sidekick.dashboard.page import LivePage


class QueuesPage(LivePage):
    """Not built yet."""

    name = "queues"
    title = _("Queues")
    template = "django_sidekick/page.html"


class QueuePage(LivePage):
    """Not built yet."""

    name = "queue"
    title = _("Queue")
    template = "django_sidekick/page.html"
