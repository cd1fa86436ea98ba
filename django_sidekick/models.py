"""The mirror's tables: what became of each job. Written by the recorder alone; Redis is the truth of live jobs."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.core.serializers.json import DjangoJSONEncoder
from django.db import models
from django.db.models import Q
from django.utils import timezone
from django.utils.translation import gettext_lazy as _


def midnight() -> datetime:
    """Return the last midnight in the current time zone; naive where USE_TZ is off."""
    now = timezone.localtime() if settings.USE_TZ else timezone.now()
    return now.replace(hour=0, minute=0, second=0, microsecond=0)


class JidField(models.CharField):  # type: ignore[type-arg] # no generic at run time
    """A jid. On PostgreSQL the key's own index finds beginnings too: byte order needs no second one for LIKE.

    Django makes that second index for each unique column whose type it writes as `varchar`; it costs every insert.
    On MariaDB and MySQL two jids that differ in case, or in an accent, would be one key.
    """

    def db_type(self, connection: Any) -> str | None:
        """Return the column's type: on PostgreSQL by its long name, on MariaDB and MySQL compared byte by byte."""
        name = super().db_type(connection)
        if name and connection.vendor == "postgresql":
            return name.replace("varchar", "character varying", 1)
        if name and connection.vendor == "mysql":
            return f"{name} BINARY"
        return name

    def db_parameters(self, connection: Any) -> Any:
        """Return type, check and collation: on PostgreSQL that of bytes."""
        parameters = super().db_parameters(connection)
        return {**parameters, "collation": "C"} if connection.vendor == "postgresql" else parameters


class JobRecordQuerySet(models.QuerySet["JobRecord"]):
    """The questions one asks of the history."""

    def for_job(self, job_class: type | str) -> JobRecordQuerySet:
        """Return the rows of one job class: the class, or its name as the payload has it."""
        name = job_class if isinstance(job_class, str) else getattr(job_class, "name", "")
        return self.filter(job_class=name)

    def failed(self) -> JobRecordQuerySet:
        """Return what failed and is gone, was buried, or waits for its next try."""
        return self.filter(state__in=(JobRecord.State.FAILED, JobRecord.State.DEAD, JobRecord.State.RETRY))

    def dead(self) -> JobRecordQuerySet:
        """Return what was buried."""
        return self.filter(state=JobRecord.State.DEAD)

    def today(self) -> JobRecordQuerySet:
        """Return what happened since midnight in the current time zone."""
        return self.filter(changed_at__gte=midnight())

    def slowest(self) -> JobRecordQuerySet:
        """Return what has run, the longest run first."""
        return self.filter(run_time__isnull=False).order_by("-run_time")


class JobRecord(models.Model):
    """One job, from its first event on. `state` is what the last event said."""

    class State(models.TextChoices):
        """Where a job's life has been seen last; `busy` is never written: it is Redis' to know."""

        ENQUEUED = "enqueued", _("enqueued")
        SCHEDULED = "scheduled", _("scheduled")
        BUSY = "busy", _("busy")
        PROCESSED = "processed", _("processed")
        RETRY = "retry", _("retry")
        DEAD = "dead", _("dead")
        FAILED = "failed", _("failed")
        DISCARDED = "discarded", _("discarded")

    jid = JidField(_("jid"), max_length=255, primary_key=True)
    job_class = models.CharField(_("class"), max_length=255)
    queue = models.CharField(_("queue"), max_length=255)
    state = models.CharField(_("state"), max_length=16, choices=State.choices)
    args = models.JSONField(_("arguments"), null=True, encoder=DjangoJSONEncoder)
    """None if they were left out: too long, or not to be kept."""
    kwargs = models.JSONField(_("keyword arguments"), null=True, encoder=DjangoJSONEncoder)
    tags = models.JSONField(_("tags"), default=list, blank=True)
    created_at = models.DateTimeField(_("created"), null=True)
    enqueued_at = models.DateTimeField(_("enqueued"), null=True)
    scheduled_at = models.DateTimeField(_("scheduled for"), null=True)
    started_at = models.DateTimeField(_("started"), null=True)
    finished_at = models.DateTimeField(_("finished"), null=True)
    changed_at = models.DateTimeField(_("changed"))
    wait_time = models.DurationField(_("wait"), null=True)
    """From enqueued to the start of the last run."""
    run_time = models.DurationField(_("run time"), null=True)
    """Of the last run."""
    attempts = models.PositiveIntegerField(_("runs"), default=0)
    error_class = models.CharField(_("error"), max_length=255, blank=True, default="")
    error_message = models.TextField(_("message"), blank=True, default="")
    worker = models.CharField(_("worker"), max_length=255, blank=True, default="")

    objects = JobRecordQuerySet.as_manager()

    class Meta:
        verbose_name = _("job")
        verbose_name_plural = _("jobs")
        default_permissions = ("view",)
        permissions = [
            ("operate_jobs", _("Can retry, enqueue, reschedule, pause and quiet")),
            ("destroy_jobs", _("Can kill, delete, clear and stop")),
        ]
        ordering = ("-changed_at", "-jid")
        # All ascending: a new row goes to the end of each, which costs a quarter less and leaves fuller pages.
        indexes = [
            # The list as it opens, the date hierarchy, the queue filter within a time, retention.
            models.Index(fields=["changed_at", "jid"], name="sk_job_changed"),
            # The state filter; retention by state.
            models.Index(fields=["state", "changed_at"], name="sk_job_state"),
            # The class filter, siblings, a class' page.
            models.Index(fields=["job_class", "changed_at"], name="sk_job_class"),
            # The error filter: only rows that have one, so that successes do not pay for it.
            models.Index(
                fields=["error_class", "changed_at"],
                name="sk_job_error",
                condition=~Q(error_class=""),
            ),
        ]

    def __str__(self) -> str:
        return f"{self.job_class} {self.jid}"


class JobAttempt(models.Model):
    """One failed run; or the success after failures, without an error."""

    record = models.ForeignKey(JobRecord, models.CASCADE, related_name="attempt_set", db_constraint=False)
    number = models.PositiveIntegerField(_("run"))
    error_class = models.CharField(_("error"), max_length=255, blank=True, default="")
    error_message = models.TextField(_("message"), blank=True, default="")
    backtrace = models.TextField(_("backtrace"), blank=True, default="")
    """As Python prints it; the innermost frame last."""
    started_at = models.DateTimeField(_("started"), null=True)
    finished_at = models.DateTimeField(_("finished"))
    worker = models.CharField(_("worker"), max_length=255, blank=True, default="")

    class Meta:
        verbose_name = _("attempt")
        verbose_name_plural = _("attempts")
        default_permissions = ()
        ordering = ("finished_at", "pk")

    def __str__(self) -> str:
        return f"{self.record_id} run {self.number}"

    @property
    def run_time(self) -> timedelta | None:
        """Return how long it ran, if that is known."""
        return self.finished_at - self.started_at if self.started_at else None


class HistoryCursor(models.Model):
    """How far one Redis' stream of events has been written, in the transaction that wrote it."""

    stream = models.CharField(max_length=255, primary_key=True)
    position = models.CharField(max_length=64, default="0-0")
    generation = models.CharField(max_length=32, default="")
    """Which stream of that name: FLUSHALL ends one."""
    changed_at = models.DateTimeField(null=True)

    class Meta:
        default_permissions = ()

    def __str__(self) -> str:
        return f"{self.stream} at {self.position}"


class Live(JobRecord):
    """No table of its own: the entry on the admin's index under which the live pages stand.

    A proxy, for of those dumpdata, flush and their like know that they hold no rows.
    """

    class Meta:
        proxy = True
        default_permissions = ()
        verbose_name = _("live")
        verbose_name_plural = _("live")

    def __str__(self) -> str:
        return "live"
