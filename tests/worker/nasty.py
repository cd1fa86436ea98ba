"""What nobody should ever put into a queue: named payloads, and strategies for the rest."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import strategies as st

KNOWN = (
    "tests.app.jobs.NoopJob", "tests.app.jobs.FailJob", "tests.app.jobs.CoroutineJob", "tests.app.jobs.AddJob",
    "tests.app.jobs.HookedJob",
)  # fmt: skip
WRAPPER = "Sidekiq::ActiveJob::Wrapper"
DEEPLY = 1_000
VERY_DEEPLY = 100_000
FIELDS = (
    "kwargs", "jid", "retry", "retry_count", "retry_for", "retry_queue", "queue", "tags", "backtrace",
    "failed_at", "retried_at", "enqueued_at", "created_at", "expiry", "wrapped", "dead", "sk_encoded",
    "error_backtrace", "at",
)  # fmt: skip


def job(*, ascii_only: bool = True, **fields: Any) -> bytes:
    """A payload of a known class with these fields; an Ellipsis leaves one out."""
    payload = {"class": KNOWN[1], "args": [], "queue": "default", "jid": "a" * 24, "retry": True, **fields}
    return written({name: value for name, value in payload.items() if value is not ...}, ascii_only=ascii_only)


def written(value: Any, *, ascii_only: bool = False) -> bytes:
    """JSON as Python's encoder writes it, NaN and Infinity included."""
    return json.dumps(value, ensure_ascii=ascii_only).encode("utf-8", "surrogatepass")


def holding(inner: bytes, field: str = "args", job_class: str = KNOWN[1]) -> bytes:
    """A payload with this text, JSON or not, as the value of a field."""
    before = b"" if field == "args" else b'"args":[],'
    return b'{"class":"%s",%s"%s":%s}' % (job_class.encode(), before, field.encode(), inner)


def nested(levels: int, core: bytes = b"") -> bytes:
    """Lists within lists."""
    return b"[" * levels + core + b"]" * levels


def _named() -> dict[str, bytes]:
    digits = b"9" * 5000
    most = b"9" * 4300
    named = {
        "nothing": b"", "NUL": b"\0", "open": b"{", "array": b"[]", "number": b"7", "object": b"{}", "text": b'"x"',
        "null": b"null", "NaN": b"NaN", "5,000 digits": digits, "not UTF-8": b"\xff" * 1000, "BOM": b"\xef\xbb\xbf{}",
        "surrogate text": b'"\\ud800"', "raw surrogate": b'"\xed\xa0\x80"', "NUL in text": b'"\\u0000"',
        "equal keys": b'{"class":"A","class":5,"args":[],"args":{}}',
        "equal keys of a job": b'{"class":5,"args":{},"class":"A","args":[]}',
        "spaces": b" \t\r\n" + job() + b" \n", "vertical tab": job() + b"\x0b", "two objects": job() + job(),
        "empty class": job(**{"class": ""}), "number for a class": job(**{"class": 5}),
        "surrogate for a class": job(**{"class": "\ud800"}), "raw surrogate for a class": job(**{"class": "\ud800"}, ascii_only=False),
        "line break in the class": job(**{"class": "a\nb"}), "list for a class": job(**{"class": [[]]}),
        "args an object": job(args={"a": 1}), "no args": job(args=...), "args null": job(args=None),
        "kwargs a list": job(kwargs=[1]), "kwargs a text": job(kwargs="x"), "kwargs a number": job(kwargs=5),
        "odd kwargs": job(kwargs={"self": 1, "": 2, "\ud800": 3}),
        "deep object": b'{"a":' * VERY_DEEPLY + b"1" + b"}" * VERY_DEEPLY,
        "a model": job(sk_encoded=True, args=[{"_sk": "model", "model": "no.Such", "pk": {}, "using": []}]),
        "kind without value": job(sk_encoded=True, args=[{"_sk": "decimal"}]),
        "kind of a kind": job(sk_encoded=[0], args=[{"_sk": {"_sk": []}}]),
        "huge duration": job(sk_encoded=1, args=[{"_sk": "timedelta", "value": 1e300}]),
        "wrapped nothing": job(**{"class": WRAPPER, "args": [{}]}),
        "wrapped twice": job(**{"class": WRAPPER, "args": [{"job_class": WRAPPER, "arguments": [{}]}]}),
        "wrapped odd": job(**{"class": WRAPPER, "args": [{"job_class": ["x"], "arguments": {"_aj_ruby2_keywords": 5}}]}),
        "wrapped by number": job(**{"class": WRAPPER, "wrapped": 7, "args": [5]}),
        "good, with an odd wrapped": job(**{"class": KNOWN[0], "wrapped": "\ud800"}),
        "good, with a deep wrapped": holding(nested(980), "wrapped", KNOWN[0]),
        "retry_for beyond floats": job(retry_for=10**400), "retry_for below": job(retry_for=-(10**400), retry_count=1),
        "retry_count far below 0": job(retry_count=-(10**200)), "retry far below 0": job(retry=-(10**400)),
        "retry_count of 4,300 digits": holding(most, "retry_count"), "a rate": job(retry=1e300, retry_count=1e300),
        "number beyond floats": holding(b"[1e400]"), "number below": holding(b"[-1e400,1e-400,-0.0]"),
    }  # fmt: skip
    for field, values in {
        "jid": (5, None, "x" * 100_000, "a\nb", "\ud800", {}, [[]], True, 1e300, ""),
        "retry": ("x", -1, 1e300, {}, [], None, 10**400, "", 0.5),
        "retry_count": ("x", -5, 10**400, 1e300, {}, True, None),
        "queue": (5, None, "", "\ud800", "a\nb", {}, "x" * 10_000, "\0"),
        "backtrace": ("x", -1, 10**400, {}, 1e300), "tags": (5, {}, "\ud800", [[]]),
        "retry_for": ("x", -1, 1e300, {}, True), "failed_at": ("x", 1e300, 10**400, {}, "0001-01-01", "9999-12-31T23:59:59-23:59"),
        "expiry": ("x", 1e300, 10**400, {}), "wrapped": (5, {}, [], True, 1e300, "\ud800", None), "dead": (0, "x"),
        "retry_queue": (5, {}, "\ud800", "a\nb"), "error_backtrace": (5, "x"),
    }.items():  # fmt: skip
        named |= {f"{field} {written(value, ascii_only=True)[:20].decode()}": job(**{field: value}) for value in values}
    for field in ("jid", "queue", "wrapped", "retry", "retry_count", "created_at", "enqueued_at", "tags", "args", "kwargs"):
        for job_class in KNOWN:  # more digits than Python makes a text of
            inner = {"tags": b"[%s]" % digits, "args": b"[%s]" % digits, "kwargs": b'{"a":%s}' % digits}.get(field, digits)
            named[f"5,000 digits in {field} of {job_class}"] = holding(inner, field, job_class)
    for levels in (DEEPLY, VERY_DEEPLY):
        named[f"{levels} levels"] = nested(levels)
        for field in ("args", "jid", "wrapped", "retry"):
            for job_class in KNOWN[:2] + KNOWN[-1:]:
                named[f"{levels} levels of {field} of {job_class}"] = holding(nested(levels), field, job_class)
    for levels in range(880, 1000):
        named[f"{levels} levels, which the slow reader just reads or just does not"] = holding(nested(levels, b"1" * 20))
    return named


NAMED = _named()

ODD = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**30), 10**30)
    | st.sampled_from([10**400, -(10**400), 2**63, -(2**63) - 1, 0, -1])
    | st.floats()
    | st.text(st.characters(), max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(st.characters(), max_size=4), inner, max_size=3),
    max_leaves=6,
)
_MARKED = st.fixed_dictionaries(
    {"_sk": st.sampled_from(["model", "enum", "plain", "datetime", "timedelta", "decimal", "uuid", "x"]) | ODD},
    optional={"value": ODD, "model": st.just("auth.User") | ODD, "pk": ODD, "using": ODD, "class": ODD, "name": ODD},
)
_INNER = st.fixed_dictionaries(
    {}, optional={"job_class": st.sampled_from(KNOWN) | ODD, "arguments": st.lists(ODD, max_size=3) | ODD}
)
_ARGS = st.lists(ODD | _MARKED, max_size=3) | st.lists(_INNER, min_size=1, max_size=1) | ODD
_FIELDS = dict.fromkeys(FIELDS, ODD)
PAYLOADS = st.builds(
    written,
    st.fixed_dictionaries({"class": st.sampled_from((*KNOWN, WRAPPER)) | ODD, "args": _ARGS}, optional=_FIELDS),
    ascii_only=st.booleans(),
)


def _broken(raw: bytes, at: int, inserted: bytes) -> bytes:
    at %= len(raw) + 1
    return raw[:at] + inserted + raw[at + (not inserted) :]


RAWS = (
    PAYLOADS
    | st.binary(max_size=100)
    | st.builds(written, ODD)
    | st.builds(_broken, PAYLOADS, st.integers(0, 500), st.binary(max_size=2))
)
