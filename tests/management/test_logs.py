"""What a worker writes: one form for whoever speaks."""

from __future__ import annotations

import json
import re
import signal

import pytest

from django_sidekick import push
from tests.app.jobs import EchoJob, FailJob, TalkJob
from tests.settings import free_port
from tests.workers import worker_process

pytestmark = pytest.mark.usefixtures("redis")

STAMP = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z"


def spoken(*words, **environment):
    """Run one job of each kind; return their handles, and all lines of a worker."""
    talk, fail = TalkJob.perform_later(), FailJob.perform_later("x")
    push("shop.jobs.Missing")
    EchoJob.perform_later()
    with worker_process(*words, "-c", "1", **environment) as worker:
        worker.wait_for("EchoJob")
        worker.send(signal.SIGTTIN)
        worker.wait_for("Thread")
        worker.send(signal.SIGTERM)
        assert worker.wait() == 0
        return talk, fail, worker.output().splitlines()


@pytest.mark.parametrize("processes", ["0", "1"])
def test_with_json_every_line_is_an_object(processes):
    talk, fail, lines = spoken("-p", processes, SIDEKICK_TEST_LOG_FORMAT="json")

    records = [json.loads(line) for line in lines]
    for record in records:
        assert {"ts", "level", "logger", "message"} <= set(record), record
        assert re.fullmatch(STAMP, record["ts"]), record
    said = {record["message"]: record for record in records}
    assert "django-sidekick on Python" in records[0]["message"]
    for message, level in (("two\nlines", "WARNING"), ("it failed", "ERROR")):
        assert (said[message]["level"], said[message]["logger"]) == (level, "shop")
        assert (said[message]["jid"], said[message]["job"]) == (talk.jid, TalkJob.name)
    assert "ValueError: caught" in said["it failed"]["exc"]
    assert "ZeroDivisionError" in said["A thread ends by an error."]["exc"]
    assert any("old ways" in message for message in said)
    failed = {record["job"]: record for record in records if record["message"] == "fail"}
    assert (failed[FailJob.name]["jid"], failed[FailJob.name]["queue"]) == (fail.jid, "default")
    assert "Is the app 'shop'" in failed["shop.jobs.Missing"]["error"]


def test_text_lines_have_one_form_and_name_their_job():
    talk, _, lines = spoken()

    text = "\n".join(lines)
    inside = rf"class={re.escape(TalkJob.name)} jid={talk.jid}"
    assert re.search(rf"^{STAMP} WARNING shop {inside}: two$", text, re.MULTILINE)
    assert re.search(rf"^{STAMP} ERROR shop {inside}: it failed$", text, re.MULTILINE)
    assert re.search(rf"^{STAMP} tid=\d+ {inside} queue=default: start$", text, re.MULTILINE)
    assert re.search(rf"^{STAMP} CRITICAL sidekick: A thread ends by an error.$", text, re.MULTILINE)
    assert re.search(rf"^{STAMP} INFO sidekick: Stopping", text, re.MULTILINE)
    assert re.search(r"class=shop.jobs.Missing jid=\w+ queue=default elapsed=[\d.]+: fail \(UnknownJob: .*'shop'", text)


def test_what_keeps_a_worker_from_starting_is_json_too():
    with worker_process("-c", "0", SIDEKICK_TEST_LOG_FORMAT="json") as worker:
        assert worker.wait() == 1
        (line,) = worker.output().splitlines()

    assert "-c must be" in json.loads(line)["message"]


def test_redis_away_is_told_in_json(redis):
    with worker_process("-p", "1", SIDEKICK_TEST_LOG_FORMAT="json", SIDEKICK_TEST_PORT=str(free_port())) as worker:
        worker.wait_for("is away")
        worker.send(signal.SIGTERM)
        assert worker.wait() == 0
        assert {json.loads(line)["level"] for line in worker.output().splitlines()} <= {"INFO", "WARNING"}
