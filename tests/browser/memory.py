"""What the mirror remembers: rows as the recorder writes them."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

from django.utils import timezone

from django_sidekick.models import JobAttempt, JobRecord
from tests.browser.stock import PLAIN, jid

TRACE = """Traceback (most recent call last):
  File "/srv/lib/python3.11/site-packages/django_sidekick/jobs/execute.py", line 90, in run
    perform(*args, **kwargs)
  File "/srv/shop/jobs.py", line 9, in perform
    raise HTTPError("{error}")
shop.HTTPError: {error}
"""


def remember(number: int, state: str, word: Callable[[str], str] = PLAIN, runs: int = 1) -> JobRecord:
    """Write one job, with a failed run for each but the last, and for that too unless it was processed."""
    now = timezone.now()
    error = word("the carrier said 503")
    fails = state in ("retry", "dead", "failed")
    record = JobRecord.objects.create(
        jid=jid(number), job_class=word("shop.jobs.QuoteJob"), queue=word("default")[:255], state=state,
        args=[number, word("an argument")], kwargs={word("note"): word("a keyword")}, tags=[word("carrier")],
        created_at=now - timedelta(minutes=5), enqueued_at=now - timedelta(minutes=5), started_at=now - timedelta(minutes=4),
        finished_at=None if state == "retry" else now - timedelta(minutes=3), changed_at=now - timedelta(minutes=3),
        wait_time=timedelta(seconds=60), run_time=timedelta(seconds=1.5), attempts=runs, worker=word("shop-1:4711"),
        error_class=word("HTTPError") if fails else "", error_message=error if fails else "",
    )  # fmt: skip
    for run in range(1, runs + 1):
        failed = fails or run < runs
        JobAttempt.objects.create(
            record=record, number=run, started_at=now - timedelta(minutes=4), finished_at=now - timedelta(minutes=3),
            error_class=word("HTTPError") if failed else "", error_message=error if failed else "",
            backtrace=TRACE.format(error=error) if failed else "", worker=word("shop-1:4711"),
        )  # fmt: skip
    return record


def remember_some(word: Callable[[str], str] = PLAIN) -> None:
    """A few of each: 101 waits for its third try, 301 is dead, 501 to 503 went well, the last at its second run."""
    remember(101, "retry", word, runs=2)
    remember(301, "dead", word, runs=3)
    for number, runs in ((501, 1), (502, 1), (503, 2)):
        remember(number, "processed", word, runs=runs)
    remember(504, "discarded", word)
