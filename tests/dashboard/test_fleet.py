from __future__ import annotations

import json
import re
import time
from pathlib import Path

import pytest
from django.contrib.admin.models import LogEntry
from django.urls import reverse

from django_sidekick.dashboard.errand import Errand
from tests.dashboard.live import IDENTITY, beat, job, run
from tests.dashboard.sets import confirmed, post
from tests.dashboard.test_queues import said, words

PROCESSES = reverse("admin:sidekick_processes")
BUSY = reverse("admin:sidekick_busy")
SAMPLES = Path(__file__).parent.parent / "golden" / "samples"


def signals(redis, identity=IDENTITY):
    return redis.lrange(f"{identity}-signals", 0, -1)


def test_a_process_shows_what_it_said_at_its_last_beat(redis, client, viewer):
    beat(redis, busy=3, ago_s=4.5, queues=("low", "high"))

    shown = words(client.get(PROCESSES))

    assert re.search(r"host:12 shop blue low , high 3 of 5 48\.8 MiB 0\.3 ms \d+ seconds ago 1 hour ago 8\.1\.7", shown)
    assert "1 process · 5 threads · 3 busy · 60 % in use · 48.8 MiB of memory" in shown


def test_a_process_that_reads_hundreds_of_queues_is_one_row_and_is_found_by_each(redis, client, viewer):
    beat(redis, queues=[f"q{number:03}" for number in range(300)])

    answer = client.get(PROCESSES, {"q": "q299"})

    assert "q008 , q009 , 290 queues more" in words(answer)
    assert "q010" not in words(answer)


def test_a_beat_that_is_late_is_said_and_who_has_died_is_gone(redis, client, viewer):
    beat(redis, ago_s=70)
    redis.sadd("processes", "dead:1:f")

    shown = words(client.get(PROCESSES))

    assert "1 minute ago late: it should beat every 10 seconds" in shown
    assert "dead:1" not in shown


def test_quiet_is_asked_as_sidekiq_asks_and_shown_until_the_beat(redis, client, operator):
    beat(redis)
    golden = json.loads((SAMPLES / "api_quiet.json").read_text())["keys"]["<IDENTITY>-signals"]

    began = time.monotonic()
    done = client.post(PROCESSES, {"action": "quiet", "_selected_action": IDENTITY})
    left_s = redis.pttl(f"{IDENTITY}-signals") / 1000
    passed_s = time.monotonic() - began

    assert [word.decode() for word in signals(redis)] == golden["value"]
    assert left_s <= int(golden["ttl"].split()[0]) <= left_s + passed_s + 0.1  # whatever the machine did between
    assert "1 process is asked to take no more jobs" in said(client, done)[0]
    assert "asked to be quiet, waits for the beat" in words(client.get(PROCESSES))
    assert LogEntry.objects.get().object_repr == "host:12"


def test_stop_is_confirmed_and_asked(redis, client, destroyer):
    beat(redis)
    form = {"action": "stop", "_selected_action": IDENTITY}

    assert "host:12 will take no more jobs and end" in words(client.post(PROCESSES, form))
    assert signals(redis) == []
    client.post(PROCESSES, {**form, "post": "yes"})

    assert signals(redis) == [b"TERM"]
    assert "asked to stop, waits for the beat" in words(client.get(PROCESSES))


def test_all_are_asked_but_embedded_ones_and_those_that_are_filtered_out(redis, client, destroyer):
    others = ["b:1:f", "b:2:f", "away:3:f"]
    for identity in others:
        beat(redis, identity, embedded=identity == "b:2:f")

    page = client.get(PROCESSES + "?q=b:").content.decode()
    for act, query in (("stop", "?q=b:"), ("quiet", "")):
        asked = post(client, "processes", act, query, select_across="1")
        confirmed(client, "processes", asked, query)

    assert "Stop all (1)" in page
    assert [signals(redis, identity) for identity in others] == [[b"TSTP", b"TERM"], [], [b"TSTP"]]


@pytest.mark.parametrize(("act", "signal"), [("quiet", b"TSTP"), ("stop", b"TERM")])
def test_all_are_those_that_the_question_was_about(redis, client, destroyer, act, signal):
    """Who has started since is left alone, who has ended is said."""
    for identity in ("a:1:f", "a:2:f", "a:3:f"):
        beat(redis, identity)

    asked = post(client, "processes", act, select_across="1")
    assert "3 processes will take no more jobs" in words(asked)
    assert f"{act.title()} (3)" in words(asked)
    assert redis.keys("*-signals") == []
    redis.delete("a:2:f")
    beat(redis, "a:4:f")
    done = confirmed(client, "processes", asked)

    assert sorted(redis.keys("*-signals")) == [b"a:1:f-signals", b"a:3:f-signals"]
    assert signals(redis, "a:1:f") == signals(redis, "a:3:f") == [signal]
    texts = said(client, done)
    assert texts[0].startswith("2 processes are asked")
    assert texts[1:] == ["1 process was not there any more."]
    assert sorted(LogEntry.objects.values_list("object_repr", flat=True)) == ["a:1", "a:3"]


def test_a_question_about_processes_is_answered_by_whom_it_was_asked_for_its_act(redis, client, destroyer):
    beat(redis)
    errand = Errand.on("processes", "stop", str(destroyer.pk), [IDENTITY])

    for act, token in (("quiet", errand.token()), ("stop", errand._replace(user="0").token()), ("stop", errand._replace(kept="records").token()), ("stop", "x")):
        done = post(client, "processes", act, errand=token, post="yes", select_across="1")
        assert "ask again" in said(client, done)[0]

    assert signals(redis) == []


def test_who_may_destroy_and_not_operate_can_stop_all(redis, client, staff):
    staff("view_jobrecord", "destroy_jobs")
    beat(redis)

    html = client.get(PROCESSES).content.decode()

    assert "Stop all (1)" in html
    assert "Quiet" not in html


def test_an_embedded_process_cannot_be_stopped(redis, client, destroyer):
    beat(redis, embedded=True)

    done = client.post(PROCESSES, {"action": "stop", "_selected_action": IDENTITY, "post": "yes"})

    assert signals(redis) == []
    assert "is embedded" in said(client, done)[0]
    assert "data-action" not in client.get(PROCESSES).content.decode()


def test_a_signal_is_written_for_none_that_has_gone(redis, client, operator):
    done = client.post(PROCESSES, {"action": "quiet", "_selected_action": "gone:1:f"})

    assert redis.keys() == []
    assert "No process that lives is meant" in said(client, done)[0]


@pytest.mark.parametrize(("codenames", "act"), [(["view_jobrecord"], "quiet"), (["view_jobrecord", "operate_jobs"], "stop")])
def test_who_has_not_the_right_asks_nobody(redis, client, staff, codenames, act):
    staff(*codenames)
    beat(redis)

    assert f'data-action="{act}"' not in client.get(PROCESSES).content.decode()
    answer = client.post(PROCESSES, {"action": act, "_selected_action": IDENTITY, "post": "yes"})

    assert answer.status_code == 403
    assert signals(redis) == []


def test_running_jobs_stand_by_run_time_the_longest_first(redis, client, viewer):
    beat(redis)
    run(redis, job(jid="a" * 24), ago_s=5, thread="t1")
    run(redis, job(jid="b" * 24, job_class="SlowJob", tags=["vip"]), ago_s=5626, thread="t2")

    shown = words(client.get(BUSY))

    assert re.search(rf"1 h 33 min since [^ ]+ \d+, \d+ \d\d:\d\d:\d\d UTC SlowJob vip {'b' * 24} 1, 'a' low host:12 thread t2 [\d.]+ s", shown)
    assert "2 running jobs, the longest run first" in shown


def test_an_active_job_stands_under_its_own_name(redis, client, viewer):
    beat(redis)
    inner = {"job_class": "MailJob", "job_id": "1", "arguments": [7], "queue_name": "low"}
    run(redis, job(job_class="Sidekiq::ActiveJob::Wrapper", wrapped="MailJob", args=[inner]))

    assert f"MailJob {'j' * 24} 7 low" in words(client.get(BUSY))


def test_running_jobs_are_filtered_by_text_and_by_process(redis, client, viewer):
    for identity, name in ((IDENTITY, "OneJob"), ("b:1:f", "TwoJob")):
        beat(redis, identity)
        run(redis, job(job_class=name), identity)

    for query in ("?q=onejob", f"?process={IDENTITY}"):
        shown = words(client.get(BUSY + query))
        assert "OneJob" in shown
        assert "TwoJob" not in shown


def test_the_live_json_has_the_parts_by_their_ids(redis, client, viewer):
    beat(redis)
    run(redis, job())

    news = client.get(BUSY + "?live=1").json()

    assert news["numbers"]["busy"] == 1
    assert "HardJob" in news["parts"]["sk-busy"]
    assert 'id="sk-busy"' in client.get(BUSY).content.decode()
