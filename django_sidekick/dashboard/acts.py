"""What a person can do to jobs, queues and processes: names, words and rights of all acts."""

from __future__ import annotations

from typing import Any, NamedTuple

from django import forms
from django.contrib.admin.models import CHANGE, DELETION, LogEntry
from django.contrib.contenttypes.models import ContentType
from django.core.exceptions import ValidationError
from django.db import router, transaction
from django.http import HttpRequest
from django.utils.translation import pgettext_lazy

from django_sidekick.exceptions import SidekickError
from django_sidekick.history.arguments import text
from django_sidekick.models import JobRecord

OPERATE = "django_sidekick.operate_jobs"
DESTROY = "django_sidekick.destroy_jobs"
VIEW = "django_sidekick.view_jobrecord"
LONGEST_ID = 10_000


class Act(NamedTuple):
    """One act: its name in forms and in the log, its word on buttons, and who may do it."""

    name: str
    label: Any
    permission: str = OPERATE

    @property
    def destroys(self) -> bool:
        """Tell whether what it does cannot be taken back."""
        return self.permission == DESTROY


ACTS = {
    act.name: act
    for act in (
        Act("retry_now", pgettext_lazy("act", "Retry now")),
        Act("enqueue_now", pgettext_lazy("act", "Add to queue now")),
        Act("run_again", pgettext_lazy("act", "Run again")),
        Act("reschedule", pgettext_lazy("act", "Reschedule")),
        Act("pause", pgettext_lazy("act", "Pause")),
        Act("resume", pgettext_lazy("act", "Resume")),
        Act("quiet", pgettext_lazy("act", "Quiet")),
        Act("kill", pgettext_lazy("act", "Kill"), DESTROY),
        Act("delete", pgettext_lazy("act", "Delete"), DESTROY),
        Act("clear", pgettext_lazy("act", "Clear"), DESTROY),
        Act("stop", pgettext_lazy("act", "Stop"), DESTROY),
    )
}


def repeated(request: HttpRequest) -> list[tuple[str, str]]:
    """Return the fields with which a confirmation repeats this POST; the form adds its own token and post=yes."""
    return [
        (name, value)
        for name, values in request.POST.lists()
        if name not in ("csrfmiddlewaretoken", "post")
        for value in values
    ]


def time_asked_s(request: HttpRequest, otherwise: str) -> float:
    """Return the time that a reschedule's form names, in the user's zone, as epoch seconds.

    Raise SidekickError, which says `otherwise`, if it names none.
    """
    try:
        at_s: float = forms.DateTimeField().clean(request.POST.get("at", "")).timestamp()
    except (ValidationError, OverflowError, ValueError):
        raise SidekickError(otherwise) from None
    return at_s


def log(request: HttpRequest, act: Act, what: str, *, object_id: str = "") -> int:
    """Write into the admin's log who did what: the act's English name, and what it was done to.

    Return the line's number, for log_more().
    """
    line = LogEntry.objects.create(
        user_id=str(request.user.pk),
        content_type=ContentType.objects.get_for_model(JobRecord, for_concrete_model=False),
        object_id=text(object_id, LONGEST_ID),
        object_repr=text(what, 200),
        action_flag=DELETION if act.destroys else CHANGE,
        change_message=act.name,
    )
    return int(line.pk)


def log_more(line: int, more: int) -> None:
    """Add to the number after the last colon of a line: an act that goes on has one line, and the whole number."""
    alias = router.db_for_write(LogEntry)
    with transaction.atomic(using=alias):
        entry = LogEntry.objects.using(alias).select_for_update().filter(pk=line).first()
        if entry and more:
            what, _colon, number = entry.object_repr.rpartition(": ")
            entry.object_repr = f"{what}: {int(number.replace(',', '')) + more:,}"
            entry.save(update_fields=["object_repr"])
