"""Filters meet whatever Redis may hold."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from django.template import engines
from django.utils import timezone, translation
from hypothesis import given
from hypothesis import strategies as some

from django_sidekick.dashboard import show
from django_sidekick.templatetags.sidekick import (
    sk_args,
    sk_bytes,
    sk_clock,
    sk_duration,
    sk_text,
    sk_time,
)

ANYTHING = some.recursive(
    some.none() | some.booleans() | some.integers() | some.floats() | some.binary()
    | some.text(some.characters(exclude_categories=())) | some.datetimes() | some.decimals(),
    lambda inner: some.lists(inner) | some.dictionaries(some.text(some.characters(exclude_categories=())), inner),
)


@given(ANYTHING)
def test_no_filter_raises_and_what_each_returns_can_be_sent(value):
    for word in (sk_text, sk_args, sk_time, sk_clock, sk_duration, sk_bytes):
        word(value).encode()


@pytest.mark.parametrize(
    ("job", "shown"),
    [
        ([1, "a", None, {"b": [True]}], "1, 'a', None, {'b': [True]}"),
        ({"args": [1], "kwargs": {"force": True}}, "1, force=True"),
        ({"args": []}, ""),
        ({"args": {"odd": 1}}, "{'odd': 1}"),
        ({"args": ["\ud800"]}, r"'\ud800'"),
        ([10**5000], "0x"),
    ],
)
def test_arguments_stand_as_the_call_has_them(job, shown):
    assert sk_args(job).startswith(shown)


@pytest.mark.parametrize("args", [["x" * 10_000], list(range(10_000)), [{str(n): n for n in range(10_000)}]])
def test_arguments_are_cut_to_300_characters(args):
    assert len(sk_args(args)) == 300
    assert sk_args(args).endswith("…")


def test_arguments_of_any_depth_are_shown():
    deep = []
    for _ in range(5000):
        deep = [deep]

    assert "…" in sk_args([deep])


def test_a_time_is_relative_and_has_the_exact_one_in_the_users_zone():
    at = timezone.now() - timedelta(minutes=4, seconds=2)

    with timezone.override("Asia/Ho_Chi_Minh"):
        shown = sk_time(at.timestamp())

    assert ">4 minutes ago</time>" in shown
    assert f"{at.astimezone(UTC) + timedelta(hours=7):%H:%M:%S} +07" in shown


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0.2, "now"), (-1.5, "1 second ago"), (90, "in 1 minute"), (-7300, "2 hours ago"), (86_400 * 3, "in 3 days")],
)
def test_a_time_is_said_in_its_largest_unit(seconds, words):
    now = datetime(2026, 1, 1, tzinfo=UTC)

    assert show.relative(now + timedelta(seconds=seconds), now) == words


@pytest.mark.parametrize("junk", [math.inf, -math.inf, math.nan, 1e300, 10**400, [], "soon", True, Decimal("NaN")])
def test_what_is_no_time_is_shown_as_it_is(junk):
    assert "<time" not in sk_time(junk)


def test_a_filter_is_escaped_by_the_template():
    page = engines["django"].from_string("{% load sidekick %}{{ x|sk_text }}{{ x|sk_args }}{{ x|sk_time }}")

    assert "<script>" not in page.render({"x": "<script>alert(1)</script>"})


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [(0, "0 ms"), (0.0123, "12 ms"), (0.0012, "1.2 ms"), (2.34, "2.3 s"), (61, "1 min 1 s"), (5626, "1 h 33 min"),
     (90_000, "1 d 1 h"), (math.nan, "–"), (-1, "–"), ("1", "–")],
)
def test_a_duration_has_at_most_two_units(seconds, shown):
    assert sk_duration(seconds) == shown


@pytest.mark.parametrize(("count", "shown"), [(0, "0 B"), (1536, "1.5 KiB"), (5 * 1024**3, "5.0 GiB"), (None, "–")])
def test_a_size_has_its_unit(count, shown):
    assert sk_bytes(count) == shown


def test_numbers_are_written_in_the_users_language():
    with translation.override("de"):
        assert sk_bytes(1536) == "1,5 KiB"


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("Job", "Job"),
        ("a.b.CleanUpJob", '<span title="a.b.CleanUpJob"><span class="sk-module">a.<wbr>b.<wbr></span>CleanUpJob</span>'),
        ("Mail::DeliverJob", '<span title="Mail::DeliverJob"><span class="sk-module">Mail::<wbr></span>DeliverJob</span>'),
        ("<i>.x", '<span title="&lt;i&gt;.x"><span class="sk-module">&lt;i&gt;.<wbr></span>x</span>'),
        ([1], "[1]"),
        (None, ""),
    ],
)
def test_the_name_of_a_class_may_break_between_its_parts(name, shown):
    assert show.class_element(name) == shown
