"""Which class runs which name. Nothing is ever imported because a payload names it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django_sidekick.exceptions import UnknownJob
from django_sidekick.wire import ruby
from django_sidekick.wire.payload import as_text

JOBS: dict[str, type[Any]] = {}
LEVEL_BY_CLASS: dict[str, str] = {}
"""Of the classes that have a level of history of their own."""
REDACT_BY_CLASS: dict[str, Sequence[str]] = {}
"""Of the classes that hide something from the history."""


def register(job_class: type[Any]) -> None:
    """Claim the class' name: its class_name, or its dotted path. A later class of that name replaces it."""
    JOBS[job_class.name] = job_class
    for known, value in ((LEVEL_BY_CLASS, job_class.history), (REDACT_BY_CLASS, job_class.redact)):
        known.pop(job_class.name, None)
        if value:
            known[job_class.name] = value


def resolve(name: str) -> type[Any]:
    """Return the class that has claimed the name. Raise UnknownJob, which says what may be missing."""
    job_class = JOBS.get(name)
    if job_class is None:
        raise UnknownJob(name)
    return job_class


def job_of(payload: dict[str, Any]) -> Any:
    """Return the job of a payload, one wrapped by Active Job too. Raise UnknownJob, or what its class raises."""
    job = resolve(ruby.job_name(payload) if ruby.is_wrapped(payload) else payload["class"])()
    job.payload = payload
    return job


class Stranger:
    """Stands for a job whose class nobody has claimed, or that could not be made, in the job log's lines."""

    def __init__(self, payload: dict[str, Any], error: BaseException) -> None:
        self.payload = payload
        self.error = error
        self.jid = as_text(payload.get("jid", ""))
        self.name = ruby.job_name(payload)


def refuse(job: Stranger) -> None:
    """Raise the reason why there is no such job."""
    raise job.error
