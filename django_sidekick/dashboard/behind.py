"""What is to be said of a history that is behind: nothing, as a rule. Pure."""

from __future__ import annotations

from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from django_sidekick.broker.lag import Lag
from django_sidekick.dashboard.show import figure, size, text

MUCH_BYTES = 2**20
"""More is not written in a moment."""


def behind(lag: Lag) -> list[str]:
    """Return sentences: why nothing is written, what waits if it waits for long, what is missing for good."""
    said = []
    if lag.stuck:
        said.append(_("The history cannot be written for now: %s") % text(lag.stuck))
    elif lag.batches and not lag.is_led:
        said.append(_("Nobody writes the history: no recorder runs, which is a part of runworker."))
    if lag.batches and (said or lag.size_bytes > MUCH_BYTES):
        waiting = ngettext(
            "%(count)s batch of events (%(size)s) waits to be written into it.",
            "%(count)s batches of events (%(size)s) wait to be written into it.",
            lag.batches,
        )
        if not said:
            waiting = ngettext(
                "The history is behind: %(count)s batch of events (%(size)s) waits to be written.",
                "The history is behind: %(count)s batches of events (%(size)s) wait to be written.",
                lag.batches,
            )
        said.append(waiting % {"count": figure(lag.batches), "size": size(lag.size_bytes)})
    if lag.dropped:
        missing = ngettext(
            "%(count)s event is missing in the history: there was no room for it.",
            "%(count)s events are missing in the history: there was no room for them.",
            lag.dropped,
        )
        said.append(missing % {"count": figure(lag.dropped)})
    return said
