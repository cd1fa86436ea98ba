"""What all threads are doing, for the log."""

from __future__ import annotations

import logging
import sys
import threading
import traceback

logger = logging.getLogger("sidekick")


def dump_stacks() -> None:
    """Log what every thread is doing, at WARNING."""
    names = {thread.ident: thread.name for thread in threading.enumerate()}
    for ident, frame in sys._current_frames().items():
        stack = "".join(traceback.format_stack(frame))
        logger.warning("Thread %s %s:\n%s", ident, names.get(ident, "?"), stack)
