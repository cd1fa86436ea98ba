"""Whatever stands in a sidekiq.yml: options come of it, or one line that names the file."""

from __future__ import annotations

import os

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from django_sidekick.exceptions import ConfigurationError
from django_sidekick.worker import configfile
from tests.workers import worker_process

yaml = pytest.importorskip("yaml")

EXAMPLES = int(os.environ.get("SIDEKICK_TEST_EXAMPLES", "300"))
BOMB = "a: &a [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{name}: &{name} [{', '.join(['*' + before] * 10)}]\n" for before, name in zip("abcdefghijk", "bcdefghijkl", strict=True)
)
HEX = "0x" + "f" * 5000
TEXTS = {
    "nothing": b"", "spaces": b" \n \n", "comments": b"# :concurrency: 5\n#\n", "BOM": b"\xef\xbb\xbf:concurrency: 5\n",
    "BOM alone": b"\xef\xbb\xbf", "UTF-16": ":concurrency: 5".encode("utf-16"), "CRLF": b":concurrency: 5\r\n:queues:\r\n  - a\r\n",
    "binary": bytes(range(256)), "NUL": b"\0", "control": b":tag: \x07", "ERB": b":concurrency: <%= ENV['X'] %>", "tab": b"\t- a",
    "ERB in a comment": b"# <% x %>", "Ruby object": b"!ruby/object:Gem::Installer {i: x}", "Ruby symbol": b":tag: !ruby/symbol x",
    "Python object": b"tag: !!python/object/apply:os.system ['true']", "Python name": b"tag: !!python/name:os.system",
    "equal keys": b":concurrency: 5\n:concurrency: x\n", "two spellings": b":concurrency: 5\nconcurrency: 0\n",
    "two documents": b"--- {}\n--- {}", "itself": b"labels: &a [*a]", "itself at the top": b"&a [*a]", "no such alias": b"tag: *x",
    "merge of nothing": b"<<: 5", "merge": b"a: &a {concurrency: 5}\nproduction: {<<: *a}", "version": b"%YAML 9.9\n--- {}",
    "deep lists": b"labels: " + b"[" * 3000 + b"]" * 3000, "deep, open": b"[" * 3000, "deep mappings": b"{a: " * 2000,
    "deep block": b"\n".join(b" " * n + b"a:" for n in range(600)), "long key": b"x" * 100_000 + b": 1", "key of lists": b"? [[a]]\n: 1",
    "line break in a key": b'"a\\nTraceback (most recent call last)": 1', "surrogate": b'tag: "\\ud800"', "surrogate key": b'"\\ud800": 1',
    "labels a number": b"labels: 5", "labels a text": b"labels: abc", "labels a mapping": b"labels: {a: 1}",
    "concurrency a mapping": b"concurrency: {a: 1}", "queues of queues": b"queues: [[[a, 1], 2]]", "queues null": b"queues:",
    "weight a mapping": b"queues: {a: {b: 1}}", "300 queues": b"queues: [%s]" % b", ".join(b"q%d" % n for n in range(300)),
    "huge": f":concurrency: {HEX}".encode(), "huge negative": f":timeout: -{HEX}".encode(), "huge key": f"? {HEX}\n: 1".encode(),
    "huge label": f"labels: [{HEX}]".encode(), "huge tag": f"tag: {HEX}".encode(), "huge queue": f"queues: [{HEX}]".encode(),
    "huge at the top": HEX.encode(), "5,000 digits": b"timeout: " + b"9" * 5000, "infinity": b"timeout: .inf", "NaN": b"timeout: .nan",
    "no date": b"tag: 2024-99-99", "early": b"tag: 0001-01-01T00:00:00+23:00", "base 60": b"timeout: 1:99:99",
}  # fmt: skip
TEXTS |= {
    f"{tag} of {value or 'nothing'}": f"tag: !!{tag} {value or chr(34) * 2}".encode()
    for tag in ("int", "float", "bool", "null", "timestamp", "binary", "set", "omap", "pairs", "map", "seq", "str", "value", "x")
    for value in ("", "x", "-", "0b", "0x", "[]", "{}", "9:9:")
}
TEXTS |= {f"a bomb {where}": BOMB.encode() + where.encode() for where in ("", "labels: *l", "tag: *l", "queues: *l", "queues: [[a, *l]]", "timeout: *l", "production: *l")}
TEXTS |= {f"a bomb as {key}": BOMB.replace("l: &l", f"{key}: &l").encode() for key in configfile.KNOWN}
TEXTS["a bomb alone"] = b"- &a [x, x]\n" + b"".join(b"- &%c [*%c, *%c]\n" % (n, n - 1, n - 1) for n in range(98, 122))

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.dates() | st.datetimes() | st.binary(max_size=4),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4) | st.integers(), inner, max_size=4),
    max_leaves=8,
)
_KEYS = st.sampled_from([*configfile.KNOWN, *configfile.UNSERVED, "production", "x"])
_NAMES = st.builds(str.__add__, st.sampled_from(["", ":"]), _KEYS)
_QUEUES = st.lists(st.text(max_size=4) | st.tuples(st.text(max_size=4), VALUES).map(list) | VALUES, max_size=4)
MAPPINGS = st.dictionaries(_NAMES, VALUES | _QUEUES | st.dictionaries(_NAMES, VALUES, max_size=3), max_size=5)
FILES = (
    st.binary(max_size=60)
    | st.text(max_size=60).map(str.encode)
    | st.text(st.sampled_from(":-[]{},&*!|>'\"%@`?# \n\ta1x<"), max_size=60).map(str.encode)
    | MAPPINGS.map(lambda value: yaml.safe_dump(value, allow_unicode=True).encode("utf-8", "replace"))
    | VALUES.map(lambda value: yaml.safe_dump(value).encode())
)


def check(path, content, environment=""):
    """Options of the types that a worker takes, or one line that names the file."""
    path.write_bytes(content)
    try:
        options = configfile.read(path, environment)
    except ConfigurationError as error:
        assert str(path) in str(error)
        assert len(str(error).splitlines()) == 1
        assert len(str(error)) < 1000
        return
    assert set(options) <= set(configfile.KNOWN)
    assert all(isinstance(options.get(name, 1), int) for name in ("concurrency", "timeout", "max_retries"))
    assert all(isinstance(name, str) and isinstance(weight, int) for name, weight in options.get("queues", ()))
    assert all(isinstance(label, str) for label in options.get("labels", ()))


@pytest.mark.parametrize("name", TEXTS)
def test_what_has_a_name(tmp_path, name):
    check(tmp_path / "sidekiq.yml", TEXTS[name])
    check(tmp_path / "sidekiq.yml", TEXTS[name], "production")


@settings(max_examples=EXAMPLES, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(FILES, st.sampled_from(["", "production"]))
def test_what_can_be_drawn(tmp_path, content, environment):
    check(tmp_path / "sidekiq.yml", content, environment)


@pytest.mark.parametrize(
    ("content", "options"),
    [
        (TEXTS["BOM"], {"concurrency": 5}),
        (TEXTS["CRLF"], {"concurrency": 5, "queues": (("a", 0),)}),
        (TEXTS["comments"], {}),
        (b":labels: [a, 5]\n:tag: 7\n", {"labels": ("a", "5"), "tag": "7"}),
    ],
)
def test_what_can_be_read_is_read(tmp_path, content, options):
    file = tmp_path / "sidekiq.yml"
    file.write_bytes(content)

    assert configfile.read(file) == options


def test_no_text_is_made_of_a_bomb(tmp_path):
    with pytest.raises(ConfigurationError, match="`labels` must be text"):
        configfile_of = tmp_path / "sidekiq.yml"
        configfile_of.write_text("production: {labels: &l [[x]]}\nlabels: *l")
        configfile.read(configfile_of)


@pytest.mark.parametrize("name", ["binary", "int of nothing", "huge", "line break in a key", "a bomb labels: *l"])
def test_runworker_says_it_in_one_line(tmp_path, name):
    file = tmp_path / "odd.yml"
    file.write_bytes(TEXTS[name])

    with worker_process("-C", str(file)) as worker:
        assert worker.wait() == 1
        said = [line for line in worker.output().splitlines() if line]

    assert len(said) == 1
    assert said[0].startswith("CommandError: ")
    assert str(file) in said[0]
