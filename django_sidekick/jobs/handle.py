"""The handle of an enqueued job: its jid, whether it was pushed, and what can still be done about it."""

from __future__ import annotations

import time
from datetime import datetime, timedelta
from typing import Any

from django.apps import apps

from django_sidekick.broker.broker import get_broker
from django_sidekick.conf import get_settings
from django_sidekick.exceptions import ArgumentError
from django_sidekick.jobs.byhand import inspector_for
from django_sidekick.jobs.moments import moment_s


class EnqueuedJob:
    """One job by its jid. Can be made from a bare jid, in any process.

    `enqueued` is None until pushed, then True; False if a layer refused it or the push failed, and then
    `error` says why.
    """

    __slots__ = ("enqueued", "error", "jid")

    def __init__(self, jid: str) -> None:
        self.jid = jid
        self.enqueued: bool | None = None
        self.error: Exception | None = None

    def __repr__(self) -> str:
        return f"<EnqueuedJob {self.jid} enqueued={self.enqueued}>"

    @property
    def record(self) -> Any:
        """The job's row in the history, a JobRecord; None if there is none, or not yet. Raise Django's database errors.

        Asked for anew at each look: the row is written after the fact.
        """
        rows = apps.get_model("django_sidekick", "JobRecord").objects  # models are not known where jobs are imported
        return rows.using(get_settings().history_database).filter(pk=self.jid).first()

    def cancel(self) -> bool:
        """Take the job out of its queue, the schedule or retry. Return False if it is in none of them.

        A job that is running is not stopped. The search is bounded: the newest 100,000 of each.
        Raise BrokerUnavailable if Redis stays away for ENQUEUE_TIMEOUT; if only its answer was lost on the way,
        the repeated search finds nothing more and says False.
        """
        broker = get_broker()
        return broker.ask(lambda: inspector_for(broker, "delete").cancel(self.jid))

    def reschedule(self, *, wait: timedelta | float | None = None, wait_until: datetime | None = None) -> bool:
        """Give a scheduled or retrying job another time; a past one means at once. Return False if it is neither.

        Raise BrokerUnavailable if Redis stays away for ENQUEUE_TIMEOUT.
        """
        if wait is None and wait_until is None:
            raise ArgumentError("reschedule() needs wait or wait_until.", path="wait")
        now_s = time.time()
        at_s = moment_s(wait, wait_until, now_s) or now_s
        broker = get_broker()
        return broker.ask(lambda: inspector_for(broker, "reschedule", at_s).reschedule(self.jid, at_s))
