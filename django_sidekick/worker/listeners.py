"""Telling the project's listeners what happens to a worker."""

from __future__ import annotations

import logging

from django.dispatch import Signal

logger = logging.getLogger("sidekick")


def announce(signal: Signal, sender: type, identity: str) -> None:
    """Send a signal; a listener that fails is logged, and holds up nothing."""
    for listener, answer in signal.send_robust(sender=sender, identity=identity):
        if isinstance(answer, Exception):
            logger.error("%r failed; the worker goes on.", listener, exc_info=answer)
