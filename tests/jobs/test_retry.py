from __future__ import annotations

from datetime import timedelta

import pytest

from django_sidekick.jobs import retry
from django_sidekick.jobs.retry import Failure, RetryRules

RULES = RetryRules(25, "milliseconds", lambda below: below - 1)
NOW_S = 1_700_000_000.0


def failed(payload, queue="default"):
    return retry.with_error(payload, Failure(queue, ValueError("no"), NOW_S), RULES)


def test_the_default_back_off_takes_about_21_days():
    total_s = sum(retry.backoff_s(count, lambda below: below // 2) for count in range(25))

    assert 20 < total_s / 86_400 < 21


@pytest.mark.parametrize(("count", "least", "most"), [(0, 15, 24), (1, 16, 35), (2, 31, 60), (10, 10_015, 10_124)])
def test_back_off_grows_with_the_fourth_power_and_jitter(count, least, most):
    assert retry.backoff_s(count, lambda below: 0) == least
    assert retry.backoff_s(count, lambda below: below - 1) == most


def test_the_first_failure_counts_zero_and_the_second_one():
    first = failed({"class": "A", "args": [], "retry": True})
    second = failed(first)

    assert (first["retry_count"], first["failed_at"]) == (0, 1_700_000_000_000)
    assert "retried_at" not in first
    assert (second["retry_count"], second["retried_at"]) == (1, 1_700_000_000_000)


def test_unknown_fields_and_order_survive():
    fields = failed({"zebra": 12345678901234567890, "class": "A", "args": [], "queue": "x", "apple": None})

    assert list(fields)[:5] == ["zebra", "class", "args", "queue", "apple"]
    assert fields["zebra"] == 12345678901234567890


@pytest.mark.parametrize(("given", "queue"), [({}, "from"), ({"retry_queue": "low"}, "low"), ({"retry_queue": 5}, "from")])
def test_every_retried_job_has_a_queue(given, queue):
    assert failed({"class": "A", "args": [], **given}, "from")["queue"] == queue


@pytest.mark.parametrize(
    ("value", "count", "exhausted"),
    [(True, 24, False), (True, 25, True), (3, 2, False), (3, 3, True), (0, 0, True), ("odd", 24, False)],
)
def test_retries_are_counted(value, count, exhausted):
    assert retry.is_exhausted({"retry": value, "retry_count": count}, NOW_S, RULES) is exhausted


@pytest.mark.parametrize(
    ("failed_at", "exhausted"), [(1_699_999_950_000, False), (1_699_999_890_000, True), (1_699_999_950.0, False)]
)
def test_retry_for_is_a_window_and_then_the_count_is_not_asked(failed_at, exhausted):
    fields = {"retry": 0, "retry_for": 100, "retry_count": 500, "failed_at": failed_at}

    assert retry.is_exhausted(fields, NOW_S, RULES) is exhausted


@pytest.mark.parametrize(
    ("payload", "retried"),
    [({"retry": True}, True), ({"retry": 0}, True), ({"retry": False}, False), ({"retry": None}, False), ({}, True)],
)
def test_retry_false_leaves_no_trace(payload, retried):
    assert retry.is_retried(payload) is retried


@pytest.mark.parametrize(("asked", "wait_s"), [(None, 24), (7, 16), (timedelta(seconds=7), 16), (timedelta(-1), 24), (0, 24), (-3, 24), ("later", 24), (True, 24)])
def test_an_odd_answer_of_retry_in_means_the_rule(asked, wait_s):
    assert retry.delay_s({"retry_count": 0}, asked, RULES) == wait_s


def test_a_hostile_retry_count_is_bounded():
    fields = failed({"class": "A", "args": [], "retry_count": 10**30})

    assert retry.delay_s(fields, None, RULES) < 10**13
    assert failed({"class": "A", "args": [], "retry_count": "x"})["retry_count"] == 0
