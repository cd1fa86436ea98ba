from __future__ import annotations

from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal

import pytest

from django_sidekick.exceptions import DeserializationError
from django_sidekick.wire import ruby

WRAPPED = {
    "class": "Sidekiq::ActiveJob::Wrapper",
    "wrapped": "CleanUpJob",
    "args": [
        {
            "job_class": "CleanUpJob",
            "arguments": [
                1,
                {"a": [{"_aj_symbol_keys": ["x"], "x": 2}], "_aj_symbol_keys": []},
                {"_aj_serialized": "ActiveJob::Serializers::SymbolSerializer", "value": "soft"},
                {"force": True, "_aj_ruby2_keywords": ["force"]},
            ],
        }
    ],
}


def test_active_jobs_are_unwrapped():
    assert ruby.is_wrapped(WRAPPED)
    assert ruby.unwrap(WRAPPED) == ("CleanUpJob", [1, {"a": [{"x": 2}]}, "soft"], {"force": True})


@pytest.mark.parametrize("nested", [lambda gid: gid, lambda gid: [{"a": gid}], lambda gid: {"x": gid, "_aj_ruby2_keywords": ["x"]}])
def test_a_record_of_rubys_is_an_error_that_names_it(nested):
    inner = {"job_class": "CleanUpJob", "arguments": [nested({"_aj_globalid": "gid://shop/Order/1"})]}

    with pytest.raises(DeserializationError, match="gid://shop/Order/1"):
        ruby.unwrap({**WRAPPED, "args": [inner]})
    assert ruby.job_name({**WRAPPED, "args": [inner]}) == "CleanUpJob"


def test_a_malformed_wrapper_is_an_ordinary_class():
    assert not ruby.is_wrapped({"class": "Sidekiq::ActiveJob::Wrapper", "args": []})
    assert not ruby.is_wrapped({"class": "Sidekiq::ActiveJob::Wrapper", "args": ["x"]})


def serialized(kind, **fields):
    return {"_aj_serialized": f"ActiveJob::Serializers::{kind}Serializer", **fields}


def unwrapped(value):
    inner = {"job_class": "CleanUpJob", "arguments": [{"deep": [value], "_aj_symbol_keys": ["deep"]}]}
    _, [argument], _ = ruby.unwrap({**WRAPPED, "args": [inner]})
    return argument["deep"][0]


def part(name, count):
    return [serialized("Symbol", value=name), count]


PLUS_TWO = timezone(timedelta(hours=2))


@pytest.mark.parametrize(
    ("marked", "value"),
    [
        (serialized("Time", value="2026-07-01T12:00:00.123456789+02:00"), datetime(2026, 7, 1, 12, 0, 0, 123456, PLUS_TWO)),
        (serialized("DateTime", value="2026-07-01T12:00:00.000000000+02:00"), datetime(2026, 7, 1, 12, tzinfo=PLUS_TWO)),
        (serialized("TimeWithZone", value="2026-07-01T10:00:00.000000000Z"), datetime(2026, 7, 1, 10, tzinfo=UTC)),
        (serialized("TimeWithZone", value="2026-07-01T12:00:00Z", time_zone="No/Where"), datetime(2026, 7, 1, 12, tzinfo=UTC)),
        (serialized("Date", value="2026-07-01"), date(2026, 7, 1)),
        (serialized("BigDecimal", value="0.12345678901234567890123e3"), Decimal("123.45678901234567890123")),
        (serialized("BigDecimal", value="-Infinity"), Decimal("-Infinity")),
        (serialized("Duration", value=5400, parts=[part("hours", 1), part("minutes", 30)]), timedelta(minutes=90)),
        (serialized("Duration", value=0.5, parts=[part("seconds", 0.5)]), timedelta(seconds=0.5)),
        (serialized("Duration", value=1209600, parts={"weeks": 2}), timedelta(weeks=2)),
        (serialized("Duration", value=0, parts=[]), timedelta(0)),
        (serialized("Symbol", value="soft"), "soft"),
    ],
)
def test_what_has_an_equivalent_arrives_as_it(marked, value):
    found = unwrapped(marked)

    assert (found, type(found)) == (value, type(value))
    if isinstance(value, datetime):
        assert found.utcoffset() == value.utcoffset()


def test_a_time_with_the_name_of_its_zone_keeps_the_zone():
    found = unwrapped(serialized("TimeWithZone", value="2026-07-01T12:00:00.000000000+02:00", time_zone="Europe/Berlin"))

    assert found == datetime(2026, 7, 1, 12, tzinfo=PLUS_TWO)
    assert (found + timedelta(days=180)).utcoffset() == timedelta(hours=1)


@pytest.mark.parametrize(
    ("marked", "fields"),
    [
        (serialized("Duration", value=2629746, parts=[part("months", 1)]), {"value": 2629746, "parts": [["months", 1]]}),
        (serialized("Module", value="Order"), {"value": "Order"}),
        (
            serialized("Range", begin=serialized("Date", value="2026-07-01"), end=None, exclude_end=False),
            {"begin": date(2026, 7, 1), "end": None, "exclude_end": False},
        ),
        ({"_aj_serialized": "Shop::DateSerializer", "value": "first of July"}, {"value": "first of July"}),
        ({"_aj_serialized": 7, "value": 1}, {"value": 1}),
    ],
)
def test_what_has_none_arrives_as_the_object_it_is(marked, fields):
    assert unwrapped(marked) == fields


@pytest.mark.parametrize(
    "marked",
    [
        serialized("Time", value="soon"),
        serialized("Time", value="2026-07-01T12:00:00"),
        serialized("Time", value=5),
        serialized("DateTime", value="12026-07-01T12:00:00Z"),
        serialized("Date"),
        serialized("BigDecimal", value=[]),
        serialized("BigDecimal", value="a lot"),
        serialized("Duration", value="1", parts=[]),
        serialized("Duration", value=1e300, parts=[]),
        serialized("Duration", value=1, parts=7),
        serialized("Symbol"),
    ],
)
def test_what_cannot_be_read_is_an_error_that_names_it(marked):
    with pytest.raises(DeserializationError, match=marked["_aj_serialized"]):
        unwrapped(marked)
