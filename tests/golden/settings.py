"""The tests' settings with the samples' jobs in place of the others."""

from __future__ import annotations

from tests.settings import *  # noqa: F403

INSTALLED_APPS = ["django_sidekick", "tests.golden"]
ROOT_URLCONF = "tests.golden.settings"
urlpatterns: list[object] = []
