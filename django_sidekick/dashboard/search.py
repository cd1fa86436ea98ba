"""The search box: a jid leads to its job, from the history or from Redis; other words to lists."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any, NamedTuple

from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.utils.functional import cached_property
from django.utils.http import urlencode
from django.utils.translation import gettext_lazy as _

from django_sidekick.broker.console import Question, get_console
from django_sidekick.broker.whereabouts import Found, seek
from django_sidekick.dashboard import bounded, jobacts
from django_sidekick.dashboard.job import NOWHERE, gap_text
from django_sidekick.dashboard.page import LivePage
from django_sidekick.dashboard.recall import find_record, recall
from django_sidekick.dashboard.recordlist import beginning
from django_sidekick.models import JobRecord
from django_sidekick.wire.payload import scrub

MOST_SHOWN = 20


class Hits(NamedTuple):
    """What the history has for words: names of classes and errors, and jobs whose jids begin so."""

    classes: Sequence[str] = ()
    errors: Sequence[str] = ()
    jobs: Sequence[JobRecord] = ()


class SearchPage(LivePage):
    """Redirects if there is one answer; else says where was looked, and leads to the lists of the history."""

    name = "search"
    title = _("Search")
    template = "django_sidekick/search.html"

    @cached_property
    def text(self) -> str:
        """Return what is searched for."""
        return scrub(self.request.GET.get("q", "").strip())

    @cached_property
    def jids(self) -> list[str]:
        """Return the jids that are meant, for any text is one: as it was typed, and without space around it."""
        return list(dict.fromkeys(filter(None, (scrub(self.request.GET.get("q", "")), self.text))))

    def questions(self) -> dict[str, Question]:
        """Ask Redis where such a job is."""
        if "live" in self.request.GET or not self.jids:
            return {}
        return {"found": seek(get_console().keys, self.jids, within_s=jobacts.SEARCH_S)}

    def get(self, request: HttpRequest, **names: Any) -> HttpResponse:
        """Look into the records first, then into Redis."""
        if "live" in request.GET:
            return super().get(request, **names)
        for jid in self.jids:
            record, _error = recall(partial(find_record, jid=jid), None)
            if record:
                return HttpResponseRedirect(self.url("job", record.pk))
        context = self.context()
        found: Found = context.get("found", NOWHERE)
        for jid in self.jids:
            if jid in found.places:
                return HttpResponseRedirect(self.url("job", jid))
        hits, history_error = recall(self._hits, Hits())
        if len(hits.jobs) == 1 and not (hits.classes or hits.errors):
            return HttpResponseRedirect(self.url("job", hits.jobs[0].pk))
        context |= {
            "searched": self.text[:255],
            "history_error": history_error,
            "gaps": [gap_text(gap) for gap in found.gaps],
            "hits": hits,
            "list_query": urlencode({"q": self.text}),
        }
        return TemplateResponse(request, self.template, context)

    def _hits(self, alias: str) -> Hits:
        if not self.text or "\0" in self.text:
            return Hits()
        word = self.text.lower()
        names = [
            [value for value in bounded.values_of(column, alias) if word in value.lower()]
            for column in ("job_class", "error_class")
        ]
        rows = beginning(JobRecord.objects.using(alias).all(), self.text)
        jobs = list(rows.order_by("jid")[:MOST_SHOWN]) if rows is not None else []
        return Hits(names[0][:MOST_SHOWN], names[1][:MOST_SHOWN], jobs)
