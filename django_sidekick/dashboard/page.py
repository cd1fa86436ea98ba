"""What all live pages have in common: rights, the bar of numbers, Redis away, acts, and the JSON that keeps them live."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from django.contrib import admin, messages
from django.contrib.admin import AdminSite
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect, JsonResponse
from django.template.loader import render_to_string
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, pgettext_lazy
from django.views import View

from django_sidekick.broker.console import Question, get_console
from django_sidekick.broker.numbers import numbers
from django_sidekick.dashboard.acts import ACTS, VIEW, Act, repeated
from django_sidekick.dashboard.sentences import sentence
from django_sidekick.dashboard.show import figure
from django_sidekick.exceptions import SidekickError

TABS = (
    ("overview", gettext_lazy("Overview")),
    ("busy", gettext_lazy("Busy")),
    ("queues", gettext_lazy("Queues")),
    ("retries", gettext_lazy("Retries")),
    ("scheduled", gettext_lazy("Scheduled")),
    ("dead", gettext_lazy("Dead")),
    ("processes", gettext_lazy("Processes")),
    ("metrics", gettext_lazy("Metrics")),
)
NUMBERS = (
    ("processed", gettext_lazy("Processed"), "metrics"),
    ("failed", gettext_lazy("Failed"), "metrics"),
    ("busy", gettext_lazy("Busy"), "busy"),
    ("enqueued", pgettext_lazy("number", "Enqueued"), "queues"),
    ("retries", gettext_lazy("Retries"), "retries"),
    ("scheduled", gettext_lazy("Scheduled"), "scheduled"),
    ("dead", gettext_lazy("Dead"), "dead"),
)


class LivePage(View):
    """One page. It asks its questions with the bar's in the same round trips, and shows the answers.

    A GET paints it whole without JavaScript; `?live=1` returns JSON of the numbers, as they are and as they are
    shown, and of `parts`, by the id of the element they fill. A POST carries out one of `acts`, for who has its
    right, and returns to the page.
    """

    site: AdminSite = admin.site
    name: ClassVar[str]
    title: ClassVar[Any]
    template: ClassVar[str]
    parts: ClassVar[Mapping[str, str]] = {}
    acts: ClassVar[tuple[str, ...]] = ()

    def questions(self) -> dict[str, Question]:
        """Return what this page asks Redis, beside the bar."""
        return {}

    def show(self, answers: dict[str, Any]) -> dict[str, Any]:
        """Return the template's names for the answers. Not called while Redis is away."""
        return answers

    def act(self, act: Act) -> HttpResponse | None:
        """Carry out an act that this user may do. Return a page to show (confirm, progress), or None when done."""
        raise NotImplementedError

    def setup(self, request: HttpRequest, *args: Any, **kwargs: Any) -> None:
        """Let nobody in who may not see jobs; URLs are the admin site's own."""
        super().setup(request, *args, **kwargs)
        request.current_app = self.site.name
        if not request.user.has_perm(VIEW):
            raise PermissionDenied

    def get(self, request: HttpRequest, **names: Any) -> HttpResponse:
        """Show the page, or its live parts."""
        context = self.context()
        if "live" in request.GET:
            parts = {part: render_to_string(template, context, request) for part, template in self.parts.items()}
            return JsonResponse(
                {
                    "numbers": context["numbers"],
                    "shown": {key: figure(count) for key, count in context["numbers"].items()},
                    "parts": parts,
                    "away": context["redis_error"],
                }
            )
        return TemplateResponse(request, self.template, context)

    def post(self, request: HttpRequest, **names: Any) -> HttpResponse:
        """Carry out an act; its failure is said, and changes nothing more."""
        act = ACTS.get(request.POST.get("action", ""))
        if act and not request.user.has_perm(act.permission):
            raise PermissionDenied
        if act is None or act.name not in self.acts:
            messages.error(request, _("Choose what is to be done."))
            return self.back()
        try:
            return self.act(act) or self.back()
        except SidekickError as error:
            messages.error(request, sentence(error))
            return self.back()

    def confirm(self, act: Act, what: str, count: int, *, note: str = "", **more: str) -> HttpResponse:
        """Return the page that asks whether `count` of `what` are meant; its form repeats this POST with post=yes.

        `more` are further fields of that form; `note` says what will not be expected.
        """
        fields = [*repeated(self.request), *more.items()]
        context = {"act": act, "what": what, "count": count, "note": note, "fields": fields}
        return TemplateResponse(self.request, "django_sidekick/confirm.html", {**self.frame(), **context})

    def back(self) -> HttpResponse:
        """Return to this page as it was seen, filters included."""
        return HttpResponseRedirect(self.request.get_full_path())

    def url(self, name: str, *args: Any) -> str:
        """Return the URL of a live page on this admin site."""
        return reverse(f"admin:sidekick_{name}", args=args, current_app=self.site.name)

    def frame(self) -> dict[str, Any]:
        """Return what the admin's templates and the tabs need, Redis or not.

        `acts` has each act by its name, None for whoever may not: a template would call a dict's own `clear`.
        """
        may = self.request.user.has_perm
        return {
            **self.site.each_context(self.request),
            "title": self.title,
            "page": self.name,
            "tabs": [(name, label, self.url(name)) for name, label in TABS],
            "acts": {name: act if may(act.permission) else None for name, act in ACTS.items()},
            "redis_error": "",
        }

    def context(self) -> dict[str, Any]:
        """Return all names of the template: the frame, the bar, and the page's own."""
        console, context = get_console(), self.frame()
        try:
            answers = console.ask({"numbers": numbers(console.keys), **self.questions()})
        except SidekickError as error:
            return {**context, "redis_error": sentence(error), "numbers": {}, "bar": self._bar({})}
        figures = answers.pop("numbers")._asdict()
        return {
            **context,
            "numbers": figures,
            "bar": self._bar(figures),
            **self.show(answers),
        }

    def _bar(self, figures: Mapping[str, int]) -> list[tuple[str, Any, str, int | None]]:
        return [(key, label, self.url(page), figures.get(key)) for key, label, page in NUMBERS]
