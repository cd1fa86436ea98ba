from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import pytest
from django.urls import reverse

from django_sidekick.broker import figures
from django_sidekick.broker.beats import Counts, ProcessBeat
from django_sidekick.broker.console import get_console
from django_sidekick.broker.keys import Keys
from tests.dashboard.live import beat, enqueue, job
from tests.dashboard.test_queues import words

OVERVIEW = reverse("admin:sidekick_overview")
METRICS = reverse("admin:sidekick_metrics")


def count(redis, job_class, processed, failed, run_time_s, ago_minutes=0):
    counts = Counts(processed, failed, {job_class: [processed, failed, run_time_s, *[0] * 26]})
    at = datetime.now(UTC) - timedelta(minutes=ago_minutes)
    ProcessBeat(redis, Keys()).add_counts(counts, at.timestamp())


def test_runs_of_a_class_are_read_from_the_buckets_that_workers_write(redis, client, viewer):
    count(redis, "MailJob", 5, 1, 2.0)
    count(redis, "MailJob", 5, 0, 2.5, ago_minutes=30)
    count(redis, "OldJob", 5, 0, 2.0, ago_minutes=70)

    shown = words(client.get(METRICS))

    assert "MailJob 10 1 10.0 % 500 ms 4.5 s" in shown
    assert "OldJob" not in shown


@pytest.mark.parametrize("minutes", figures.MINUTES)
def test_each_period_ends_where_it_says(redis, minutes):
    now = datetime(2026, 1, 2, 3, 4, 30, tzinfo=UTC)
    console = get_console()
    step = 1 if minutes <= 480 else 10
    for name, ago in (("In", minutes - step), ("Out", minutes + 10)):
        counts = Counts(1, 0, {name: [1, 0, 1.0, *[0] * 26]})
        ProcessBeat(redis, Keys()).add_counts(counts, (now - timedelta(minutes=ago)).timestamp())

    rows = console.ask({"m": figures.metrics(console.keys, now, minutes)})["m"]

    assert [row.job_class for row in rows] == ["In"]
    assert rows[0] == figures.ClassFigures("In", 1, 0, 1.0)


def test_metrics_are_sorted_and_filtered(redis, client, viewer):
    count(redis, "AJob", 1, 0, 9.0)
    count(redis, "BJob", 9, 3, 1.0)

    def order(query):
        return [row.job_class for row in client.get(METRICS + query).context["rows"]]

    assert order("") == order("?o=class") == order("?o=mean") == ["AJob", "BJob"]
    assert order("?o=processed") == order("?o=share") == ["BJob", "AJob"]
    assert order("?q=bjob") == ["BJob"]
    assert 'aria-sort="descending"' in client.get(METRICS).content.decode()


@pytest.mark.parametrize("days", [7, 30, 90, 180])
def test_the_overview_shows_runs_of_each_day(redis, client, viewer, days):
    today = datetime.now(UTC).date()
    redis.set(f"stat:processed:{today}", 1234)
    redis.set(f"stat:failed:{today}", 5)
    redis.set(f"stat:processed:{today - timedelta(days=days - 1)}", 617)
    redis.set(f"stat:processed:{today - timedelta(days=days)}", 9999)

    answer = client.get(OVERVIEW + f"?days={days}")

    columns = answer.context["columns"]
    assert len(columns) == days
    assert [columns[0].processed, columns[-1].processed, columns[-1].failed] == [50, 100, 100]
    assert "1,234" in words(answer)
    assert "9,999" not in words(answer)


def test_days_are_those_of_sidekiqs_counters(redis):
    redis.set("stat:processed:2026-02-28", 3)
    console = get_console()

    days = console.ask({"days": figures.days(console.keys, date(2026, 3, 1), 2)})["days"]

    assert days == [figures.Day(date(2026, 2, 28), 3, 0), figures.Day(date(2026, 3, 1), 0, 0)]


def test_the_overview_shows_queues_processes_and_the_server(redis, client, viewer):
    enqueue(redis, job(ago_s=5626))
    beat(redis, busy=2, ago_s=70)

    shown = words(client.get(OVERVIEW))

    assert "low 1 1 h 33 min behind 1 process, 5 threads" in shown
    assert "host:12 2 of 5 1 minute ago late" in shown
    assert "of memory (at most" in shown


@pytest.mark.parametrize("page", ["overview", "queues", "busy", "processes", "metrics"])
def test_a_page_asks_in_at_most_two_round_trips(redis, client, viewer, page):
    enqueue(redis, job())
    beat(redis)
    console, asked = get_console(), []
    send = console._send
    console._send = lambda commands: asked.append(commands) or send(commands)

    try:
        client.get(reverse(f"admin:sidekick_{page}"))
    finally:
        console._send = send

    assert len(asked) == 2


@pytest.mark.parametrize("page", ["overview", "queues", "busy", "processes", "metrics"])
def test_what_is_painted_needs_no_inline_script_or_style(redis, client, destroyer, page):
    enqueue(redis, job())
    beat(redis)
    count(redis, "AJob", 1, 0, 9.0)

    text = client.get(reverse(f"admin:sidekick_{page}")).content.decode()
    text = text[text.index('<div class="sk-page"') :]

    assert " style=" not in text and "<style" not in text and "<script>" not in text and "onclick" not in text
    assert text.count("<table") == text.count("<caption")
    assert "<th>" not in text
