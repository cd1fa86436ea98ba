"""What went wrong, said to a person in his language; the words of the server itself stay as they are."""

from __future__ import annotations

from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from django_sidekick.dashboard.show import figure
from django_sidekick.exceptions import BrokerUnavailable, EnqueueError, SidekickError, WrongType


def sentence(error: SidekickError) -> str:
    """Return an error as a sentence; one that nobody has words for here as it is."""
    if isinstance(error, EnqueueError) and isinstance(error.__cause__, BrokerUnavailable):
        text = ngettext(
            "%(count)s job was not pushed: %(reason)s", "%(count)s jobs were not pushed: %(reason)s", len(error.jids)
        )
        return text % {"count": figure(len(error.jids)), "reason": sentence(error.__cause__)}
    if isinstance(error, BrokerUnavailable) and error.where:
        return _("Redis at %(where)s is away: %(reason)s") % {"where": error.where, "reason": error.reason}
    if isinstance(error, BrokerUnavailable) and error.reason:
        return _("Redis refuses: %(reason)s") % {"reason": error.reason}
    if isinstance(error, WrongType):
        text = _(
            "The key %(key)s, or that of the queues' names, holds something of another kind; the job stays in %(place)s."
        )
        return text % {"key": error.key, "place": error.stays_in}
    return str(error)
