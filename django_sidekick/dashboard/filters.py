"""Which jobs of a list are meant: the filter of a page, as its URL has it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from django.http import QueryDict
from django.utils.translation import gettext as _

from django_sidekick.wire.shown import Shown, json_of, shown


class Filter(NamedTuple):
    """What a job must have: `q` somewhere in its texts, whatever the case; class, queue and error exactly."""

    q: str = ""
    job_class: str = ""
    queue: str = ""
    error: str = ""

    @classmethod
    def of(cls, query: QueryDict) -> Filter:
        """Return the filter of a URL's query. Spaces around what was typed are not meant; a name may have some."""
        exact = (query.get(name, "") for name in ("class", "queue", "error"))
        return cls(query.get("q", "").strip(), *exact)

    def takes(self, job: Shown) -> bool:
        """Tell whether a job is meant."""
        return (
            (not self.job_class or self.job_class == job.job_class)
            and (not self.queue or self.queue == job.queue)
            and (not self.error or self.error == job.error_class)
            and (not self.q or self.q.casefold() in _texts(job))
        )

    def takes_text(self, raw: bytes) -> bool:
        """Tell whether the job of a text is meant; without a filter, without reading it."""
        return not any(self) or self.takes(shown(raw))

    def words(self) -> str:
        """Return the filter as a person says it; '' for none."""
        return ", ".join(_said(self))

    def chips(self) -> list[tuple[str, str, str, str]]:
        """Return what is asked for beside `q`: name and value in the URL, words, and the URL without it."""
        words = {"class": _("class %s"), "queue": _("queue %s"), "error": _("error %s")}
        values = zip(words, self[1:], strict=True)
        return [(name, value, words[name] % value, self.url(**{name: ""})) for name, value in values if value]

    def url(self, **fields: str) -> str:
        """Return the URL of a list with this filter, some of its fields changed."""
        kept = dict(zip(("q", "class", "queue", "error"), self, strict=True))
        query = QueryDict(mutable=True)
        query.update({name: value for name, value in {**kept, **fields}.items() if value})
        return f"?{query.urlencode()}"


def _texts(job: Shown) -> str:
    """All that a person may look for, in one text. What is no job is looked through as it stands."""
    if not job.is_job:
        return job.text.casefold()
    kwargs = (json_of(job.kwargs),) if job.kwargs else ()
    texts = (job.job_class, job.jid, job.queue, job.error_class, job.error_message, *job.tags)
    return "\n".join((*texts, json_of(job.args), *kwargs)).casefold()


def _said(meant: Filter) -> Iterable[str]:
    if meant.q:
        yield _("“%s”") % meant.q
    if meant.job_class:
        yield _("class %s") % meant.job_class
    if meant.queue:
        yield _("queue %s") % meant.queue
    if meant.error:
        yield _("error %s") % meant.error
