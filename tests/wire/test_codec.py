from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from django_sidekick.wire import codec

READERS = {codec._loads_slowly, codec.loads}
WRITERS = {codec._dumps_slowly, codec.dumps}
VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**40), 10**40)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters()),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


@given(VALUES)
def test_every_value_survives_every_writer_and_reader(value):
    for dump in WRITERS:
        for load in READERS:
            assert load(dump(value)) == value


@pytest.mark.parametrize("load", READERS)
@pytest.mark.parametrize(
    "raw",
    [b"", b"{", b"NaN", b"[Infinity]", b"1e999", b'{"a":[-1E+400]}', b"[" + b"1" * 400 + b".0]", b"1" * 100_001,
     b"[" + b"9" * 5000 + b"," + b"[" * 100_000, b"\xff", b'{"a":}', b"[" * 100_000, b'{"a"' + b":[" * 50_000],
)
def test_what_is_no_json_is_a_value_error(load, raw):
    with pytest.raises(ValueError):
        load(raw)


@pytest.mark.parametrize("load", READERS)
def test_integers_of_any_size_stay_integers(load):
    number = 12345678901234567890123

    assert load(b"[%d]" % number) == [number]


@pytest.mark.parametrize("digits", [4300, 4301, 100_000])
@pytest.mark.parametrize("load", READERS)
@pytest.mark.parametrize("dump", WRITERS)
def test_numbers_longer_than_the_interpreter_prints_survive(load, dump, digits):
    text = b'{"a":["\\ud800",%b,-%b],"b":1.5}' % (b"9" * digits, b"7" * digits)

    assert dump(load(text)) == text


@pytest.mark.parametrize("dump", WRITERS)
def test_what_would_not_be_read_again_is_not_written(dump):
    for value in ([10**100_000], {"a": -(10**200_000)}):
        with pytest.raises(ValueError, match="more than 100,000 digits"):
            dump(value)


@pytest.mark.parametrize("dump", WRITERS)
def test_lone_surrogates_survive(dump):
    assert json.loads(dump(["\ud800x"])) == ["\ud800x"]


@pytest.mark.parametrize("load", READERS)
def test_the_last_of_two_equal_keys_wins(load):
    assert load(b'{"a":1,"a":2}') == {"a": 2}


@pytest.mark.parametrize("dump", WRITERS)
def test_text_is_compact_utf8(dump):
    assert dump({"a": [1, "ü"]}) == '{"a":[1,"ü"]}'.encode()


@given(st.integers(0, 10**6), st.text("0123456789", min_size=1, max_size=400), st.integers(-300, 200), st.booleans())
def test_fractions_of_any_length_are_read_alike(whole, fraction, exponent, has_exponent):
    raw = b"[%d.%b%b]" % (whole, fraction.encode(), b"e%d" % exponent if has_exponent else b"")

    assert codec.loads(raw) == codec._loads_slowly(raw)


LONG = b"12345678901234567890123"


@pytest.mark.parametrize(
    "raw",
    [LONG, b"-" + LONG, b"[1," + LONG + b"]", b'{"a":' + LONG + b"}", b'{"a":-' + LONG + b"}", b"[1,\n" + LONG + b"]",
     b'["' + LONG + b'",' + LONG + b"]", b"[0." + LONG + b"," + LONG + b"]", b"[" + LONG + b".5]", b"[1e-" + b"0" * 30 + b"5]"],
)
def test_a_long_number_is_found_wherever_it_stands(raw):
    assert repr(codec.loads(raw)) == repr(codec._loads_slowly(raw))


@pytest.mark.parametrize("raw", [b'["' + LONG + b'"]', b'["a1' + LONG + b'"]', b"[0." + LONG + b"]", b'{"0199' + LONG + b'":1.' + LONG + b"}"])
def test_jids_and_fractions_are_read_the_fast_way_if_there_is_one(raw, monkeypatch):
    """Of 250 jobs one jid has nineteen digits in a row, and nearly every duration of less than a millisecond has."""
    expected = codec._loads_slowly(raw)
    monkeypatch.setattr(codec, "_loads_slowly", None)

    assert codec.loads(raw) == expected
