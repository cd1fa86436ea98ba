from __future__ import annotations

import json
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from django_sidekick.wire import codec, event
from django_sidekick.wire.outcome import Delivery, Outcome
from django_sidekick.wire.payload import BACKTRACE_LENGTH, parse

TEXTS = {
    "lone surrogate": rb'{"class":"J","args":["\ud800"],"jid":"a"}',
    "NUL": rb'{"class":"J","args":["\u0000"],"jid":"a"}',
    "huge number": b'{"class":"J","args":[' + b"9" * 5000 + b'],"jid":"a"}',
    "deep": b'{"class":"J","args":' + b"[" * 200 + b"]" * 200 + b',"jid":"a"}',
    "line breaks": b' \n{"class":"J",\n"args":[]\n,"jid":"a\xf0\x9f\x90\x8d"}\n ',
    "the last one counts": b'{"class":"J","args":[1],"jid":"a","args":[2]}',
}


def outcome(kind="done", raw=b'{"class":"J","args":[1],"jid":"a"}', **fields):
    fields = {"started_at_s": 1000.0, "duration_s": 0.5, **fields}
    return Outcome(kind, Delivery(256, "default", raw), parse(raw), **fields)


def raised(error):
    try:
        raise error
    except type(error) as caught:
        return caught


def test_what_was_done_comes_back_as_it_was():
    blob = event.encode("host:1:abc", [outcome(), outcome("discarded", b'{"class":"K","args":[],"jid":"b"}')])

    first, second = event.decode(blob)
    assert first == ("done", 1000.5, {"class": "J", "args": [1], "jid": "a"}, "host:1:abc", 1000.0, 0.5, None, None, ())
    assert (second.kind, second.payload["jid"]) == ("discarded", "b")
    assert event.count_of(blob) == 2


def test_a_failure_carries_its_error_and_when_it_is_tried_again():
    error = raised(ValueError("it broke"))
    (told,) = event.decode(event.encode("w", [outcome("retry", error=error, at_s=2000.0)]))

    assert (told.kind, told.due_at_s) == ("retry", 2000.0)
    assert told.error[:2] == ("ValueError", "it broke")
    assert told.error[2].startswith("Traceback") and told.error[2].endswith("ValueError: it broke\n")
    assert event.decode(event.encode("w", [outcome("dead", error=error, at_s=2000.0)]))[0].due_at_s is None


def test_what_a_class_hides_of_its_arguments_is_told_with_its_events():
    hiding = {"J": ["card"], "Inside": ("pin",)}
    wrapped = b'{"class":"Sidekiq::ActiveJob::Wrapper","wrapped":"Inside","args":[],"jid":"c"}'
    outcomes = [outcome(), outcome("retry", error=raised(ValueError()), at_s=5.0), outcome(raw=b'{"class":"K","args":[],"jid":"b"}')]
    told = event.decode(event.encode("w", [*outcomes, outcome(raw=wrapped)], hiding))

    assert [e.redact for e in told] == [("card",), ("card",), (), ("pin",)]
    assert [bool(e.error) for e in told] == [False, True, False, False]
    assert (told[0].at_s, told[0].due_at_s, told[1].due_at_s) == (1000.5, None, 5.0)
    first, second = b'{"class":"J","args":[],"jid":"a"}', b'{"class":"K","args":[],"jid":"b"}'
    moves = event.decode(event.encode_moves("scheduled", [first, second], 1.0, [2.0, 3.0], {first: ["card"]}))
    assert [(e.due_at_s, e.redact) for e in moves] == [(2.0, ("card",)), (3.0, ())]


def test_what_was_released_or_is_no_job_is_not_told_of():
    malformed = Outcome("dead", Delivery(1, "q", b"x"), None)

    assert event.encode("w", [outcome("released"), malformed]) == b""
    assert len(event.decode(event.encode("w", [malformed, outcome()]))) == 1


def test_a_move_has_no_worker_and_no_run():
    blob = event.encode_moves("scheduled", [b'{"class":"J","args":[],"jid":"a"}'], 1000.0, 2000.0)

    (told,) = event.decode(blob)
    assert (told.kind, told.at_s, told.due_at_s, told.worker, told.started_at_s) == ("scheduled", 1000.0, 2000.0, "", None)
    assert event.encode_moves("enqueued", [], 1000.0) == b""


@pytest.mark.parametrize("raw", TEXTS.values(), ids=TEXTS)
def test_a_payload_of_any_kind_travels_as_it_is(raw):
    neighbour = outcome(raw=b'{"class":"J","args":[],"jid":"other"}')

    told = event.decode(event.encode("w", [neighbour, outcome(raw=raw), neighbour]))

    assert [e.payload for e in told] == [neighbour.payload, parse(raw), neighbour.payload]


@pytest.mark.parametrize("raw", [b"{", b"[1]", b"\xff", b'{"class":"J","args":[]}', b'{"class":"J","args":[],"jid":7}', b'{"class":"J","args":[],"jid":""}'])
def test_what_is_no_job_with_a_jid_is_passed_over_and_spoils_no_other(raw):
    good, junk = b'{"class":"J","args":[],"jid":"a"}', []

    told = event.decode(event.encode_moves("enqueued", [good, raw, good], 1.0), junk.append)

    assert [e.payload["jid"] for e in told] == ["a", "a"]
    assert len(junk) == 1


@pytest.mark.parametrize(
    "head",
    ['7', '["w"]', '["w",{}]', '["w",[7]]', '["w",[["done"]]]', '["w",[["done",-1,1,1]]]', '["w",[["done",34,"a","b"]]]',
     '["w",[["done",34,1e300,1]]]', '["w",[["released",34,1,1]]]', '["w",[["retry",34,1,1,"soon"]]]', '["w",[["retry",34,1,1,null,[1]]]]',
     '["w",[["retry",34,1,1,null,7]]]', '[null,[["done",34,1,1]]]', '["w",[[["done"],34,1,1]]]', '["w",[["enqueued",34,null,-1]]]', '["w",[["done",34,1%s,1]]]' % ("0" * 400), '{'],
)  # fmt: skip
def test_a_forged_head_is_counted_and_raises_nothing(head):
    junk = []

    assert event.decode(b"1\n" + head.encode() + b"\n" + b'{"class":"J","args":[1],"jid":"a"}', junk.append) == []
    assert len(junk) >= 1


@given(st.binary())
def test_bytes_of_any_kind_raise_nothing(blob):
    event.decode(blob)
    event.count_of(blob)
    event.decode(b"1\n" + blob)


def test_an_error_of_any_kind_is_told_of_within_bounds():
    class Odd(Exception):
        def __str__(self):
            raise RuntimeError

    def down(depth):
        return down(depth - 1) if depth else 1 / 0

    long = raised(ValueError("x" * 1_000_000))
    try:
        down(300)
    except ZeroDivisionError as error:
        deep = error
    for error in (raised(Odd()), long, deep, raised(ValueError("\ud800\0"))):
        (told,) = event.decode(event.encode("w", [outcome("dead", error=error)]))
        assert len(told.error[1]) <= 10_000
        assert len(told.error[2]) <= BACKTRACE_LENGTH
    assert "ZeroDivisionError" in event.decode(event.encode("w", [outcome("dead", error=deep)]))[0].error[2]


def test_both_codecs_write_blobs_that_the_other_reads():
    outcomes = [outcome(raw=raw) for raw in TEXTS.values()]
    blob = event.encode("w\u00fc", outcomes)
    program = (
        "import sys\nfrom django_sidekick.wire import codec, event\n"
        "told = event.decode(sys.stdin.buffer.read())\n"
        "sys.stdout.buffer.write(event.encode_moves('enqueued', [codec.dumps(e.payload) for e in told], told[0].at_s))"
    )
    other = "orjson" if codec.BACKEND == "stdlib" else "stdlib"
    done = subprocess.run(
        [sys.executable, "-c", program], input=blob, capture_output=True, check=True, env={"DJANGO_SIDEKICK_JSON": other, "PYTHONPATH": ":".join(sys.path)},
    )  # fmt: skip

    assert [e.payload for e in event.decode(done.stdout)] == [o.payload for o in outcomes]
    assert json.loads(blob.split(b"\n")[1])[0] == "w\u00fc"
