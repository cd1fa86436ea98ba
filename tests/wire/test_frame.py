from __future__ import annotations

import pytest

from django_sidekick.wire import codec
from django_sidekick.wire.frame import frame_of, tail_of

FIELDS = {"retry": True, "queue": "größer", "tags": ["a"]}
JID = "a" * 24


@pytest.mark.parametrize("stamp", [1732332345123, 1732332345.123])
@pytest.mark.parametrize("args", [(), (1, "ü", None), ([1.5, {"a": ["\n\x01"]}],), (2**70, "\ud800")], ids=str)
def test_a_text_in_a_frame_is_that_of_the_whole_hash(args, stamp):
    frame = frame_of(FIELDS, "app.Ünique")
    whole = {**FIELDS, "args": list(args), "class": "app.Ünique", "jid": JID, "created_at": stamp}

    text = frame.text(args, JID, tail_of(stamp, is_scheduled=True))
    assert codec.loads(text) == whole
    assert list(codec.loads(text)) == list(whole)
    text = frame.text(args, JID, tail_of(stamp, is_scheduled=False))
    assert codec.loads(text) == {**whole, "enqueued_at": stamp}
    assert frame.texts([args, args], [JID, JID], tail_of(stamp, is_scheduled=False)) == [text, text]
    if "\ud800" not in args:  # the standard library writes a whole text with one in ASCII
        assert text == codec.dumps({**whole, "enqueued_at": stamp})


def test_what_no_json_holds_has_no_text():
    frame = frame_of(FIELDS, "A")

    assert frame.text([10**100_000], JID, b"}") is None
    assert frame.texts([[1], [10**100_000]], [JID, JID], b"}") is None


@pytest.mark.parametrize("field", [{"jid": JID}, {"created_at": 5}, {"x": 10**100_000}], ids=["jid", "created_at", "long"])
def test_fields_that_come_last_or_cannot_be_written_have_no_frame(field):
    assert frame_of({**FIELDS, **field}, "A") is None
