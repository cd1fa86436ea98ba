"""Python's garbage collector in a process that runs jobs."""

from __future__ import annotations

import gc

YOUNG = 10_000
"""Objects made, and not yet gone, before the young ones are looked through."""


def freeze() -> None:
    """Take all that is loaded out of the collector's sight: it lives as long as the process.

    Before a fork, so that the collector writes into none of the pages that the children share.
    """
    gc.collect()
    gc.freeze()


def relax() -> None:
    """Look through the young objects less often: a batch of jobs is not yet settled and would be looked at in vain.

    A fifth of a no-op job's time. A threshold that the project has raised itself, or switched off, stays.
    """
    young, *older = gc.get_threshold()
    if 0 < young < YOUNG:
        gc.set_threshold(YOUNG, *older)
