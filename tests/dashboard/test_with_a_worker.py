"""The admin beside a worker in a process of its own: what it runs is seen, and what is asked for here it does."""

from __future__ import annotations

import json
import re
import time
from collections import Counter
from html import unescape

import pytest
from django.contrib.admin.models import LogEntry
from django.urls import reverse

from django_sidekick.models import JobRecord
from tests.app.jobs import AddJob, FailJob, FlakyJob
from tests.conftest import wait_until
from tests.history.test_worker import environment
from tests.workers import worker_process

pytestmark = pytest.mark.django_db(transaction=True, databases="__all__")
LIST = "/admin/django_sidekick/jobrecord/"


@pytest.fixture(scope="session", params=["sqlite", "postgresql"])
def shared_alias(request):
    """A database that a worker can reach too; there before the tests' databases are counted."""
    return request.getfixturevalue(f"{request.param}_alias")


@pytest.fixture
def alias(shared_alias, sidekick_settings):
    sidekick_settings(HISTORY_DATABASE=shared_alias)
    return shared_alias


def listed(client, **query):
    """Return the state of each job of the list, by jid."""
    answer = client.get(LIST, query)
    assert answer.status_code == 200
    rows = re.findall(r'<tr class="sk-row">.*?</tr>', answer.content.decode(), re.DOTALL)
    pairs = [re.search(r'/live/job/(\w+)/.*sk-state-(\w+)"', row, re.DOTALL) for row in rows]
    return {pair[1]: pair[2] for pair in pairs}


def test_fifty_jobs_are_seen_as_they_ended_and_one_is_retried_from_the_admin(alias, transactional_db, redis, client, staff):
    staff("view_jobrecord", "operate_jobs")
    ends = {job.jid: "processed" for job in (AddJob.perform_later(number) for number in range(30))}
    ends |= {FailJob.set(retry=0).perform_later("dead").jid: "dead" for _ in range(9)}
    ends |= {FailJob.set(retry=False).perform_later("gone").jid: "failed" for _ in range(5)}
    ends |= {FailJob.perform_later("again").jid: "retry" for _ in range(5)}
    flaky = FlakyJob.set(retry=0).perform_later().jid
    ends[flaky] = "dead"

    with worker_process("-p", "1", **environment(alias)):
        records = JobRecord.objects.using(alias)
        wait_until(lambda: records.count() == 50, "50 rows", 30)

        assert listed(client) == ends
        for state, count in Counter(ends.values()).items():
            assert len(listed(client, state=state)) == count
        assert list(listed(client, q=flaky)) == [flaky]
        redis.set("healed", 1)
        page = reverse("admin:sidekick_job", args=[flaky])
        answer = client.post(page, {"action": "retry_now"}, follow=True)
        assert "The job was put on its queue." in answer.content.decode()
        wait_until(lambda: records.get(pk=flaky).state == "processed", "the revived job", 30)
        # A beat that came while it ran tells of it until the next one; the recorder takes out what it has committed.
        wait_until(lambda: "Not in Redis." in client.get(page).content.decode(), "the next beat", 30)
        wait_until(lambda: not redis.xlen("sk:events"), "the end of what is written")

    assert listed(client)[flaky] == "processed"
    text = client.get(page).content.decode()
    assert "Not in Redis." in text
    assert "not yet healed" in text
    assert "succeeded" in text
    assert LogEntry.objects.get().object_id == flaky
    assert sorted(redis.keys("sk:events*")) == [b"sk:events", b"sk:events:generation"]
    assert redis.xlen("sk:events") == 0


def test_a_job_that_ruby_pushed_and_we_ran_is_in_the_list_with_the_note_on_those_that_ruby_runs(alias, transactional_db, redis, client, staff):
    staff("view_jobrecord")
    now_ms = int(time.time() * 1000)
    common = {"retry": True, "queue": "default", "created_at": now_ms, "enqueued_at": now_ms}
    plain = {**common, "class": "tests.app.jobs.AddJob", "args": [3, 4], "jid": "a" * 24}
    inner = {"job_class": "tests.app.jobs.AddJob", "job_id": "x", "queue_name": "default", "arguments": [5]}
    wrapped = {**common, "class": "Sidekiq::ActiveJob::Wrapper", "wrapped": "tests.app.jobs.AddJob", "args": [inner], "jid": "b" * 24}
    redis.sadd("queues", "default")
    redis.lpush("queue:default", json.dumps(plain), json.dumps(wrapped))

    with worker_process("-p", "0", "--drain", **environment(alias)) as worker:
        assert worker.wait(30) == 0, worker.output()

    assert listed(client) == {"a" * 24: "processed", "b" * 24: "processed"}
    text = unescape(client.get(LIST).content.decode())
    assert text.count("tests.app.jobs.AddJob") >= 2
    assert "Wrapper" not in text
    assert ">3, 4<" in text and ">5<" in text
    assert "Jobs that Ruby runs are seen in Redis only" in text
