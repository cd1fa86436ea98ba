"""Which job a thread, or a task of the event loop, is in; and log records that say so."""

from __future__ import annotations

import logging
from contextvars import ContextVar
from typing import Any

current_job: ContextVar[Any] = ContextVar("django_sidekick_job", default=None)
"""The job that this thread, or this task of the event loop, is in; None outside."""


class JobContext(logging.Filter):
    """Give every `logging` record made inside a job the job's jid and class, as `record.jid` and `record.job`."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Add the fields; empty outside a job."""
        job = current_job.get()
        record.jid = job.jid if job is not None else ""
        record.job = job.name if job is not None else ""
        return True

    def install(self) -> None:
        """Make every record of this process carry the fields, whichever logger and handler it goes through."""
        make = logging.getLogRecordFactory()

        def made(*args: Any, **kwargs: Any) -> logging.LogRecord:
            record = make(*args, **kwargs)
            self.filter(record)
            return record

        logging.setLogRecordFactory(made)
