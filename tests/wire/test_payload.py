from __future__ import annotations

import base64
import json
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from django_sidekick.exceptions import MalformedPayload
from django_sidekick.wire import payload as wire


def test_jids_are_24_hex_digits_that_grow():
    jids = [wire.new_jid() for _ in range(1000)]

    assert all(len(jid) == 24 and int(jid, 16) for jid in jids)
    assert len(set(jids)) == 1000
    assert jids[0][:12] <= jids[-1][:12]


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (1_700_000_000_000, 1_700_000_000.0),
        (1_700_000_000.5, 1_700_000_000.5),
        ("2023-11-14T22:13:20+00:00", 1_700_000_000.0),
        (True, None),
        (None, None),
        ("yesterday", None),
        (1e300, None),
        (10**40, None),
        ([], None),
    ],
)
def test_times_are_read_by_their_type(value, seconds):
    assert wire.read_time_s(value) == seconds


@pytest.mark.parametrize(("form", "text"), [("milliseconds", "1700000000123"), ("seconds", "1700000000.1234")])
def test_times_are_written_for_the_version(form, text):
    assert repr(wire.timestamp(1_700_000_000.1234, form)) == text


@pytest.mark.parametrize(
    "raw",
    [b"{bad", b"[]", b"1", b"null", b'{"args":[]}', b'{"class":1,"args":[]}', b'{"class":"A","args":{}}', b"\xff\xfe"],
)
def test_what_is_no_job_is_malformed(raw):
    with pytest.raises(MalformedPayload) as caught:
        wire.parse(raw)

    assert caught.value.raw == raw


@given(st.binary())
def test_no_bytes_raise_anything_else(raw):
    try:
        wire.parse(raw)
    except MalformedPayload:
        pass


@given(st.binary(max_size=50) | st.sampled_from([b"[]", b"1", b'"x"', b"null", b"[1,[2]]", b'"\\ud800"']))
def test_wrapped_malformed_entries_are_valid_jobs(raw):
    wrapped = wire.wrap_malformed(raw, "low", 1.0, "milliseconds")

    if wrapped is not None:
        job = wire.parse(wrapped)
        assert (job["class"], job["queue"], len(job["args"])) == ("(malformed)", "low", 1)


class _Mute(Exception):
    def __str__(self):
        raise RuntimeError("no text")


def test_messages_are_cut_and_scrubbed():
    assert wire.error_message(ValueError("x" * 20_000)) == "x" * 10_000
    assert wire.error_message(ValueError("a\ud800\udfffb")) == "a\ufffd\ufffdb"
    assert "THREW" in wire.error_message(_Mute())


def _error():
    def inner():
        raise ValueError("deep")

    try:
        inner()
    except ValueError as error:
        return error


def test_backtraces_are_base64_of_zlib_of_json_innermost_first():
    text = wire.encode_backtrace(_error(), True)

    lines = json.loads(zlib.decompress(base64.b64decode(text)))
    assert "in `inner'" in lines[0]
    assert "in `_error'" in lines[1]
    assert "\n" not in text
    assert wire.decode_backtrace(text) == lines


@pytest.mark.parametrize(("keep", "count"), [(1, 1), (2, 2), (50, 2)])
def test_backtrace_keeps_the_innermost_lines(keep, count):
    lines = wire.decode_backtrace(wire.encode_backtrace(_error(), keep))

    assert len(lines) == count
    assert "inner" in lines[0]


@pytest.mark.parametrize("keep", [False, None, 0, "yes", [1]])
def test_without_the_option_there_is_no_backtrace(keep):
    assert wire.encode_backtrace(_error(), keep) is None


@pytest.mark.parametrize(
    ("value", "lines"), [(None, []), ("x", []), (["a", 1], ["a", "1"]), ("eJw=", []), (7, [])]
)
def test_odd_backtraces_read_as_what_they_hold(value, lines):
    assert wire.decode_backtrace(value) == lines
