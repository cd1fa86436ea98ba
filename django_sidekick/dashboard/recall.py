"""Reading the history: on its own database, and without a page falling over it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from django.db import Error, ProgrammingError, connections, transaction
from django.utils.translation import gettext as _

from django_sidekick.conf import get_settings
from django_sidekick.dashboard.probe import make_sure
from django_sidekick.models import JobRecord
from django_sidekick.wire.payload import scrub

T = TypeVar("T")


def recall(ask: Callable[[str], T], otherwise: T) -> tuple[T, str]:
    """Return what `ask`, given the history's alias, finds there, and ''; or `otherwise`, and why it cannot be read.

    A database that hangs is one that cannot be read: that is known within a second. In an open transaction `ask`
    asks within a savepoint, so that what fails here spoils nothing else.
    """
    alias = get_settings().history_database
    try:
        if connections[alias].in_atomic_block:
            with transaction.atomic(using=alias):
                return ask(alias), ""
        make_sure(alias)
        return ask(alias), ""
    except Error as error:
        return otherwise, why(error, alias)


def why(error: Error, alias: str) -> str:
    """Return in a sentence why the history cannot be read."""
    if isinstance(error, ProgrammingError) or "no such table" in str(error):
        return _("The history's tables are missing in the database “%(alias)s”: run manage.py migrate.") % {
            "alias": alias
        }
    return _("The history in the database “%(alias)s” cannot be read: %(error)s") % {
        "alias": alias,
        "error": scrub(str(error))[:300],
    }


def find_record(alias: str, jid: str) -> JobRecord | None:
    """Return the row of a jid; None for a text that no row can have."""
    return JobRecord.objects.using(alias).filter(pk=jid).first() if can_be_kept(jid) else None


def can_be_kept(jid: str) -> bool:
    """Tell whether a row can have this jid: a database may refuse even to be asked for others."""
    return "\0" not in jid and len(jid) <= 255 and scrub(jid) == jid
