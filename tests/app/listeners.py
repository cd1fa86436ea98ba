"""Tell on stderr what the signals say."""

from __future__ import annotations

import os
import sys
import threading
from typing import Any

from django.dispatch import receiver

from django_sidekick import signals
from django_sidekick.broker.broker import get_broker


@receiver(signals.worker_forked)
def forked(role: str, **_: Any) -> None:
    sys.stderr.write(f"forked: {role}\n")


@receiver(signals.worker_started)
def started(identity: str, **_: Any) -> None:
    sys.stderr.write(f"started: {identity}\n")
    threading.Event().wait(4 if os.environ["SIDEKICK_TEST_LISTEN"] == "slow" else 0.2)  # a job that did not wait would be first
    get_broker().client.rpush("echo", "started")


@receiver(signals.worker_quiet)
def quieted(identity: str, **_: Any) -> None:
    sys.stderr.write(f"quiet: {identity}\n")


@receiver(signals.worker_stopped)
def stopped(identity: str, **_: Any) -> None:
    sys.stderr.write(f"stopped: {identity}\n")


def fail(**_: Any) -> None:
    raise RuntimeError("the listener fails")


for name in os.environ["SIDEKICK_TEST_LISTEN"].split(","):
    if name.startswith("worker_"):
        getattr(signals, name).connect(fail)
