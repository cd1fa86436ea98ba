"""Sidekiq for Django: jobs in Redis, run by `manage.py runworker`, seen in the admin."""

from __future__ import annotations

from django_sidekick._version import __version__
from django_sidekick.exceptions import Discard, Retry
from django_sidekick.jobs.base import BaseJob, perform_all_later, push
from django_sidekick.jobs.handle import EnqueuedJob

__all__ = [
    "BaseJob",
    "Discard",
    "EnqueuedJob",
    "Retry",
    "__version__",
    "perform_all_later",
    "push",
]
