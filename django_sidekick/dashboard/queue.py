"""The page of one queue: its jobs, the next to run first."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any, ClassVar, NamedTuple

from django.contrib import messages
from django.http import HttpResponse
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from django_sidekick.broker import queues
from django_sidekick.broker.console import Question, get_console
from django_sidekick.broker.moving import Move, Moved, Source
from django_sidekick.dashboard import acts
from django_sidekick.dashboard.acts import ACTS, Act
from django_sidekick.dashboard.errand import Errand, mover
from django_sidekick.dashboard.filters import Filter
from django_sidekick.dashboard.paging import ROWS, page_asked, pages
from django_sidekick.dashboard.queues import ERRAND, QueueActs
from django_sidekick.dashboard.show import figure, text
from django_sidekick.wire.shown import Shown, digest, shown


class Row(NamedTuple):
    """One waiting job: its position from 1, the next to run, and what a form calls it."""

    position: int
    name: str
    job: Shown
    since_s: float | None

    @property
    def key(self) -> str:
        """Return what stays the same while the job comes nearer."""
        return self.name.partition("|")[2]


class QueuePage(QueueActs):
    """100 jobs a page. A filter looks at the next 1,000 to run, and says so where there are more."""

    name = "queue"
    title = gettext_lazy("Queue")
    template = "django_sidekick/queue.html"
    parts: ClassVar[dict[str, str]] = {"sk-queue": "django_sidekick/parts/queue.html"}
    acts: ClassVar[tuple[str, ...]] = ("pause", "resume", "clear", "delete")

    @property
    def queue(self) -> str:
        """Return the name that the URL has."""
        name: str = self.kwargs["queue"]
        return name

    def is_meant_by(self, kept: str) -> bool:
        """Tell whether an errand is on this queue."""
        return kept == ERRAND + self.queue

    def frame(self) -> dict[str, Any]:
        """Name the queue in the title."""
        title = _("Queue %s") % text(self.queue)
        return {**super().frame(), "title": title, "queue": self.queue}

    def questions(self) -> dict[str, Question]:
        """Ask for the page's rows, or for those to look through."""
        keys = get_console().keys
        if any(Filter.of(self.request.GET)):
            return {"waiting": queues.nearest(keys, self.queue)}
        return {"waiting": queues.waiting(keys, self.queue, page_asked(self.request.GET), ROWS)}

    def show(self, answers: dict[str, Any]) -> dict[str, Any]:
        """Return the rows that match, a page of them."""
        waiting: queues.Waiting = answers["waiting"]
        meant = Filter.of(self.request.GET)
        rows = [_row(n, t) for n, t in enumerate(waiting.texts, waiting.first) if meant.takes_text(t)]
        listed = pages(self.request.GET, len(rows) if any(meant) else waiting.total)
        if any(meant):
            rows = rows[(listed.number - 1) * ROWS : listed.number * ROWS]
        return {
            "waiting": waiting,
            "rows": rows,
            "pages": listed,
            "meant": meant,
            "filters": meant.chips(),
            "scope": _scope(waiting, rows, listed.total if any(meant) else None),
            "buttons": self._buttons(["delete"], None),
            "clearing": [] if any(meant) else self._buttons(["clear"], waiting.total),
            "pausing": self._buttons(["resume" if waiting.is_paused else "pause"], None),
        }

    def act(self, act: Act) -> HttpResponse | None:
        """Carry out an act on this queue, or delete the chosen jobs, or all that match the filter.

        What has been confirmed is done to the jobs that the question was about, wherever in the queue they are by then.
        """
        post = self.request.POST
        is_across = post.get("select_across") == "1"
        if is_across and not any(Filter.of(self.request.GET)):
            act = ACTS["clear"] if act.name == "delete" else act
        if act.name != "delete":
            return self.act_on(act, self.queue)
        if "errand" in post:
            if errand := self.confirmed(act):
                self._delete(act, errand.names)
            return None
        names = self._matching() if is_across else list(dict.fromkeys(post.getlist("_selected_action")))
        if not names:
            messages.warning(self.request, _("Select the jobs that are meant."))
        elif post.get("post") == "yes":
            self._delete(act, names)
        else:
            errand = Errand.on(ERRAND + self.queue, act.name, str(self.request.user.pk), names)
            what = _("queue %s") % text(self.queue)
            return self.confirm(act, what, len(names), errand=errand.token())
        return None

    def _matching(self) -> list[str]:
        console, meant = get_console(), Filter.of(self.request.GET)
        waiting: queues.Waiting = console.ask({"w": queues.nearest(console.keys, self.queue)})["w"]
        texts = enumerate(waiting.texts, waiting.first)
        return [queues.text_name(place, raw) for place, raw in texts if meant.takes_text(raw)]

    def _delete(self, act: Act, names: Sequence[str]) -> None:
        console = get_console()
        texts = console.ask({"texts": queues.named(console.keys, self.queue, names)})["texts"]
        source = Source(console.keys.queue(self.queue), "list", queues.reach(names))
        moved = Moved()
        meant = Counter(name.partition("|")[2] for name in names)
        try:
            for turn in range(max(meant.values())):  # a text that waits twice is two jobs: one a turn
                moves = [Move(raw) for raw in texts if meant[digest(raw)] > turn]
                for part in mover(console, act.name, None).portions(source, moves):
                    moved = moved.and_also(part)
        finally:
            self._log_deleted(act, moved)
        done = len(moved.done)
        if done:
            said = ngettext("%s job was deleted.", "%s jobs were deleted.", done) % figure(done)
            messages.success(self.request, said)
        self.say_gone(len(names) - done)

    def _log_deleted(self, act: Act, moved: Moved) -> None:
        if len(moved.done) == 1:
            job = shown(moved.done[0].raw)
            acts.log(self.request, act, f"{job.job_class} {job.jid}", object_id=job.jid)
        elif moved.done:
            acts.log(self.request, act, _("queue %s") % text(self.queue) + f": {len(moved.done):,}")

    def _buttons(self, wanted: list[str], number: int | None) -> list[tuple[Act, int | None]]:
        may = self.request.user.has_perm
        return [(ACTS[name], number) for name in wanted if may(ACTS[name].permission)]


def _row(position: int, raw: bytes) -> Row:
    job = shown(raw)
    since_s = job.enqueued_at_s if job.enqueued_at_s is not None else job.created_at_s
    return Row(position, queues.text_name(position, raw), job, since_s)


def _scope(waiting: queues.Waiting, rows: list[Row], matching: int | None) -> str:
    """Say what is shown of how many."""
    total = figure(waiting.total)
    if matching is None:
        if not rows:
            return _("No job waits here.")
        last = figure(rows[-1].position)
        words = {"first": figure(rows[0].position), "last": last, "total": total}
        return _("Jobs %(first)s to %(last)s of %(total)s, the next to run first") % words
    words = {"count": figure(matching), "looked": figure(len(waiting.texts)), "total": total}
    if len(waiting.texts) == waiting.total:
        said = ngettext("%(count)s of %(total)s job matches.", "%(count)s of %(total)s jobs match.", waiting.total)
        return said % words
    said = ngettext(
        "%(count)s job matches among the next %(looked)s to run, of %(total)s.",
        "%(count)s jobs match among the next %(looked)s to run, of %(total)s.",
        matching,
    )
    return said % words
