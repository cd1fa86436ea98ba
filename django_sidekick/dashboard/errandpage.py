"""Pages that carry out errands: slices until it is done or the request has taken its time, then a page of progress."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

from django.contrib import messages
from django.http import HttpResponse
from django.template.response import TemplateResponse
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from django_sidekick.dashboard import acts
from django_sidekick.dashboard.acts import Act
from django_sidekick.dashboard.errand import Errand
from django_sidekick.dashboard.page import LivePage
from django_sidekick.dashboard.sentences import sentence
from django_sidekick.dashboard.show import figure
from django_sidekick.exceptions import SidekickError

MANY = 5_000
"""More than so many jobs get a page of progress."""
TURN_S = 0.5
LONGEST_TURN_S = 5.0
"""How long one request carries out slices: of many jobs, and of few."""


class ErrandPage(LivePage):
    """A page with an act on many."""

    def is_meant_by(self, kept: str) -> bool:
        """Tell whether an errand on what goes by this name is one of this page."""
        raise NotImplementedError

    def confirmed(self, act: Act) -> Errand | None:
        """Return the errand that this user has confirmed on this page, or say that there is none."""
        errand = Errand.of(self.request.POST["errand"])
        mine = (act.name, str(self.request.user.pk))
        if errand and (errand.act, errand.user) == mine and self.is_meant_by(errand.kept):
            return errand
        messages.error(self.request, _("This was asked for too long ago: ask again."))
        return None

    def carry_out(
        self, act: Act, errand: Errand, steps: Callable[[Errand], Iterator[Errand]], line: str
    ) -> tuple[Errand, HttpResponse | None]:
        """Carry out slices, and return how far it has come, and the page that says so unless it is over.

        The log is true in any case: `line` with the number done, one for the whole errand.
        """
        turn_s = TURN_S if errand.total > MANY else LONGEST_TURN_S
        end_at, before, trouble = time.monotonic() + turn_s, errand.done, ""
        if errand.entry is None:
            errand = errand._replace(entry=acts.log(self.request, act, f"{line}: 0"))
        try:
            for step in steps(errand):
                errand = step
                if time.monotonic() > end_at:
                    break
        except SidekickError as error:
            trouble = sentence(error)
        finally:
            acts.log_more(errand.entry or 0, errand.done - before)
        return errand, None if errand.is_over else self._progress(act, errand, trouble)

    def tell(self, level: int, count: int, text: str) -> None:
        """Say what has become of so many jobs; nothing of none."""
        if count:
            messages.add_message(self.request, level, text % {"count": figure(count)})

    def tell_refused(self, count: int) -> None:
        """Say how many jobs stay where they are; nothing of none."""
        text = ngettext(
            "%(count)s job stays: it is no job, or its queue's key holds something else.",
            "%(count)s jobs stay: they are no jobs, or their queues' keys hold something else.",
            count,
        )
        self.tell(messages.ERROR, count, text)

    def _progress(self, act: Act, errand: Errand, trouble: str) -> HttpResponse:
        """Return the page that says how far it has come; its form goes on, by itself unless there is trouble."""
        said = _("%(done)s of %(total)s done") % {
            "done": figure(errand.done), "total": figure(errand.total),
        }  # fmt: skip
        context = {
            "act": act,
            "errand": errand,
            "token": errand.token(),
            "said": said,
            "trouble": trouble,
        }
        return TemplateResponse(self.request, "django_sidekick/progress.html", {**self.frame(), **context})
