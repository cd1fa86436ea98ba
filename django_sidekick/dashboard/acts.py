"""What a person can do to jobs, queues and processes: names, words and rights of all acts."""

from __future__ import annotations

from typing import Any, NamedTuple

from django.contrib.admin.models import CHANGE, DELETION, LogEntry
from django.contrib.contenttypes.models import ContentType
from django.http import HttpRequest
from django.utils.translation import gettext_lazy as _

from django_sidekick.models import JobRecord

OPERATE = "django_sidekick.operate_jobs"
DESTROY = "django_sidekick.destroy_jobs"
VIEW = "django_sidekick.view_jobrecord"


class Act(NamedTuple):
    """One act. What destroys is confirmed first; `done` says how it went, with a number."""

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
        Act("retry_now", _("Retry now")),
        Act("enqueue_now", _("Add to queue now")),
        Act("run_again", _("Run again")),
        Act("reschedule", _("Reschedule")),
        Act("pause", _("Pause")),
        Act("resume", _("Resume")),
        Act("quiet", _("Quiet")),
        Act("kill", _("Kill"), DESTROY),
        Act("delete", _("Delete"), DESTROY),
        Act("clear", _("Clear"), DESTROY),
        Act("stop", _("Stop"), DESTROY),
    )
}


def log(
    request: HttpRequest, act: Act, what: str, *, object_id: str = "", entry: int | None = None
) -> int:
    """Write into the admin's log who did what: the act's English name, and what it was done to.

    `entry`, a number that this returned, writes that line anew: an act that goes on has one line.
    """
    line = LogEntry(
        pk=entry,
        user_id=str(request.user.pk),
        content_type=ContentType.objects.get_for_model(JobRecord, for_concrete_model=False),
        object_id=object_id,
        object_repr=what[:200],
        action_flag=DELETION if act.destroys else CHANGE,
        change_message=act.name,
    )
    line.save()
    return int(line.pk)
