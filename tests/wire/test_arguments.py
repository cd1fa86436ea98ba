from __future__ import annotations

import enum
import re
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from uuid import UUID

import pytest
from django.utils import translation
from django.utils.text import format_lazy
from django.utils.translation import gettext_lazy

from django_sidekick.exceptions import ArgumentError, DeserializationError
from django_sidekick.wire import arguments, codec
from tests.app.models import Order


class Colour(enum.Enum):
    RED = 1


class Right(enum.IntFlag):
    READ = 1
    WRITE = 2


def cyclic():
    value: list = []
    value.append(value)
    return value


def deep():
    value: list = []
    for _ in range(200):
        value = [value]
    return value


@pytest.mark.parametrize(
    ("value", "path"),
    [
        (float("nan"), "args[0]"),
        ([1, float("inf")], "args[0][1]"),
        ({"a": [1, 2, b"x"]}, "args[0]['a'][2]"),
        ({1: 2}, "args[0]"),
        (timedelta.max, "args[0]"),
        (timedelta(days=200_000, microseconds=1), "args[0]"),
        (cyclic(), "args[0][0]"),
        ({1, 2}, "args[0]"),
        (object(), "args[0]"),
        ({"_sk": 1}, "args[0]"),
    ],
)
def test_what_json_cannot_hold_is_named_by_its_path(value, path):
    with pytest.raises(ArgumentError) as caught:
        arguments.dump_call((value,), {})

    assert caught.value.path == path
    assert path in str(caught.value)


def test_too_deep_is_refused():
    with pytest.raises(ArgumentError, match="nested deeper"):
        arguments.dump_call((deep(),), {})


def test_plain_arguments_are_not_walked_or_marked():
    assert arguments.dump_call((1, "a", None, True), {}) == ([1, "a", None, True], {}, False)
    assert arguments.dump_call(([1.5, {"a": (1,)}],), {"x": 2}) == ([[1.5, {"a": [1]}]], {"x": 2}, False)


RICH = [
    datetime(2026, 1, 2, 3, 4, 5, 6, tzinfo=UTC),
    date(2026, 1, 2),
    time(3, 4, 5),
    timedelta(days=3, microseconds=5),
    Decimal("1.10"),
    UUID(int=7),
    Colour.RED,
    Right.READ,
    Right.READ | Right.WRITE,
    Right(0),
    re.IGNORECASE | re.MULTILINE,
    [Decimal(1), {"when": date(2026, 1, 2)}],
]


@pytest.mark.parametrize("value", RICH, ids=repr)
def test_richer_kinds_survive(value):
    dumped, _, encoded = arguments.dump_call((value,), {})

    assert encoded
    assert arguments.load(codec.loads(codec.dumps(dumped))) == [value]


def test_lazy_texts_travel_as_text_in_the_language_of_the_call():
    with translation.override("de"):
        dumped, _, encoded = arguments.dump_call((gettext_lazy("Yes"), {"a": [format_lazy("{}!", gettext_lazy("No"))]}), {})

    assert encoded
    assert arguments.load(codec.loads(codec.dumps(dumped))) == ["Ja", {"a": ["Nein!"]}]


def test_model_instances_travel_as_references(db):
    order = Order.objects.create(number=5)

    dumped, _, _ = arguments.dump_call((order,), {})

    assert "state" not in str(dumped)
    assert arguments.load(dumped) == [order]


def test_a_row_that_is_gone_is_said_so(db):
    order = Order.objects.create(number=5)
    dumped, _, _ = arguments.dump_call((order,), {})
    order.delete()

    with pytest.raises(DeserializationError, match="is gone"):
        arguments.load(dumped)


def test_a_model_that_is_not_saved_is_refused():
    with pytest.raises(ArgumentError, match=r"args\[0\] is an unsaved .*Order: .* Save it first"):
        arguments.dump_call((Order(),), {})


@pytest.mark.parametrize(
    "marked",
    [
        {"_sk": "nobody"},
        {"_sk": "date", "value": "x"},
        {"_sk": "enum", "class": "os:system", "name": "x"},
        {"_sk": "model", "model": "no.Such", "pk": 1, "using": "default"},
        {"_sk": ["list"]},
        {"_sk": "decimal"},
    ],
)
def test_broken_marks_are_deserialization_errors(marked):
    with pytest.raises(DeserializationError):
        arguments.load(marked)
