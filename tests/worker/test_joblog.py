from __future__ import annotations

import asyncio
import io
import json
import re
from types import SimpleNamespace

import pytest

from django_sidekick.exceptions import Discard, Retry, UnknownJob
from django_sidekick.worker.joblog import LONGEST_BACKLOG, JobLog

JOB = SimpleNamespace(payload={"class": "A", "jid": "j" * 24, "queue": "low"})


def logged(log_format, perform):
    stream = io.StringIO()
    log = JobLog(log_format, stream)
    try:
        log.middleware(perform)(JOB)
    except ValueError:
        pass
    log.flush()
    return stream.getvalue().splitlines()


def fail(job):
    raise ValueError("two\nlines")


def test_a_job_has_a_line_at_its_start_and_one_at_its_end():
    start, done = logged("text", lambda job: None)

    assert start.endswith(f"class=A jid={'j' * 24} queue=low: start")
    assert re.search(r" elapsed=0\.\d{3}: done$", done)


def test_a_failure_is_a_line_and_its_traceback():
    _, line, *trace = logged("text", fail)

    assert line.endswith("fail (ValueError: two lines)")
    assert trace[0] == "  Traceback (most recent call last):"
    assert any(line.startswith('    File "') and line.endswith("in fail") for line in trace)
    assert trace[-2:] == ["  ValueError: two", "  lines"]
    assert all(line.startswith("  ") for line in trace)


@pytest.mark.parametrize("error", [Retry(wait=5), Discard("sold out"), UnknownJob("shop.jobs.Gone"), asyncio.CancelledError()])
def test_what_is_raised_on_purpose_has_no_traceback(error):
    def perform(job):
        raise error

    stream = io.StringIO()
    log = JobLog("text", stream)
    with pytest.raises(type(error)):
        log.middleware(perform)(JOB)
    log.flush()

    assert len(stream.getvalue().splitlines()) == 2


def test_json_lines_by_setting():
    lines = [json.loads(line) for line in logged("json", fail)]

    assert [line["message"] for line in lines] == ["start", "fail"]
    assert (lines[1]["jid"], lines[1]["job"], lines[1]["queue"]) == ("j" * 24, "A", "low")
    assert lines[1]["duration_s"] >= 0
    assert "two\nlines" in lines[1]["error"]
    assert [line["level"] for line in lines] == ["INFO", "WARNING"]
    assert lines[1]["exc"].startswith("Traceback (most recent call last)")


def test_lines_that_nobody_takes_do_not_fill_memory():
    log = JobLog("text", io.StringIO())
    run = log.middleware(lambda job: None)
    for _ in range(LONGEST_BACKLOG // 2 + 10):
        run(JOB)

    assert len(log._lines) == LONGEST_BACKLOG


@pytest.mark.parametrize("payload", [{"class": "A"}, {"class": "A", "jid": 5, "queue": None, "wrapped": ["x"]}])
def test_odd_payloads_are_logged_too(payload):
    stream = io.StringIO()
    log = JobLog("json", stream)
    log.middleware(lambda job: None)(SimpleNamespace(payload=payload))
    log.flush()

    assert len(stream.getvalue().splitlines()) == 2


def test_a_line_break_in_a_jid_forges_no_line():
    stream = io.StringIO()
    log = JobLog("text", stream)
    log.middleware(lambda job: None)(SimpleNamespace(payload={"class": "A", "jid": "1\n2030-01-31T09:15:00.000Z forged"}))
    log.flush()

    assert len(stream.getvalue().splitlines()) == 2
