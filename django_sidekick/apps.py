"""The app: finds the jobs of all installed apps."""

from __future__ import annotations

from django.apps import AppConfig
from django.utils.module_loading import autodiscover_modules


class DjangoSidekickConfig(AppConfig):
    """Import `jobs` of each installed app, so that every class has claimed its name."""

    name = "django_sidekick"
    label = "django_sidekick"
    verbose_name = "Sidekick"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        """Register the checks and the jobs. Opens no connection."""
        from django_sidekick import checks  # noqa: F401, PLC0415 the app registry is ready only now

        autodiscover_modules("jobs")
