"""Tell on stderr what the signals say."""

from __future__ import annotations

import sys
from typing import Any

from django.dispatch import receiver

from django_sidekick import signals


@receiver(signals.worker_forked)
def forked(role: str, **_: Any) -> None:
    sys.stderr.write(f"forked: {role}\n")


@receiver(signals.worker_started)
def started(identity: str, **_: Any) -> None:
    sys.stderr.write(f"started: {identity}\n")


@receiver(signals.worker_stopped)
def stopped(identity: str, **_: Any) -> None:
    sys.stderr.write(f"stopped: {identity}\n")
