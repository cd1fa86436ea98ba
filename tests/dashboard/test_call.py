from __future__ import annotations

import ast
import sys

import pytest

from django_sidekick.dashboard.call import as_call
from django_sidekick.dashboard.frames import of_lines, of_python
from tests.app.jobs import AddJob


@pytest.mark.parametrize(
    ("name", "args", "kwargs", "call"),
    [
        ("tests.app.jobs.AddJob", [1], {"note": "x"}, "AddJob.perform_later(1, note='x')"),
        ("shop.jobs.CleanUpOrderJob", [1, None, True], {}, "CleanUpOrderJob.perform_later(1, None, True)"),
        ("NobodysJob", ["a"], None, "push('NobodysJob', ['a'])"),
        ("Shop::Job", [], {"a": 1}, "push('Shop::Job', [], kwargs={'a': 1})"),
        ("shop.jobs.A", [{"_sk": "datetime", "value": "2026-01-02T03:04:05+00:00"}], {}, "A.perform_later(datetime.fromisoformat('2026-01-02T03:04:05+00:00'))"),
        ("shop.jobs.A", [[{"_sk": "decimal", "value": "1.5"}]], {}, "A.perform_later([Decimal('1.5')])"),
        ("shop.jobs.A", [{"_sk": "timedelta", "value": 3.0}], {}, "A.perform_later(timedelta(seconds=3.0))"),
        ("shop.jobs.A", [{"_sk": "model", "model": "shop.Order", "pk": 7, "using": "default"}], {}, "A.perform_later(Order.objects.get(pk=7))"),
        ("shop.jobs.A", [{"_sk": "model", "model": "shop.Order", "pk": 7, "using": "old"}], {}, "A.perform_later(Order.objects.using('old').get(pk=7))"),
        ("shop.jobs.A", [{"_sk": "enum", "class": "shop.kinds:Kind", "name": "RED"}], {}, "A.perform_later(Kind['RED'])"),
        ("shop.jobs.A", [{"_sk": "plain", "value": "x"}, {"_sk": "own", "x": 1}], {}, "A.perform_later('x', {'_sk': 'own', 'x': 1})"),
        ("shop.jobs.A", [], {"not a name": 1}, "A.perform_later(**{'not a name': 1})"),
        ("shop.jobs.A", [], {"from": 1}, "A.perform_later(**{'from': 1})"),
        ("shop.jobs.A", [{"_sk": "enum", "class": "shop.kinds:Shop.Kind", "name": "RED"}], {}, "A.perform_later(Shop.Kind['RED'])"),
        ("shop.jobs.A", [{"_sk": "enum", "class": "shop.kinds:Right", "value": 3}], {}, "A.perform_later(Right(3))"),
        ("shop.jobs.A", ["\ud800'\n"], {}, "A.perform_later(\"\\ud800'\\n\")"),
        ("shop.jobs.A", None, {}, ""),
        ("shop.jobs.A", {"a": 1}, {}, ""),
        ("shop.jobs.A", [1], [1], ""),
        ("", [1], {}, ""),
        ("shop.jobs.A", ["x" * 30_000], {}, ""),
    ],
)  # fmt: skip
def test_a_call_is_written_as_python_has_it(name, args, kwargs, call):
    assert as_call(name, args, kwargs) == call


def test_a_registered_class_is_called_by_its_own_name():
    class Inner(AddJob):
        class_name, kwargs = "OddName", True

    assert as_call("OddName", [1], {}).endswith("Inner.perform_later(1)")


@pytest.mark.parametrize("args", [[10**5000], [[[]] * 3]])
def test_a_call_that_cannot_be_written_is_none(args):
    assert as_call("shop.jobs.A", args, {}) in ("", "A.perform_later([[], [], []])")


def test_a_deep_argument_ends_in_dots():
    deep: list[object] = []
    for _ in range(sys.getrecursionlimit() * 2):
        deep = [deep]

    assert "…" in as_call("shop.jobs.A", [deep], {})


def test_own_frames_are_those_outside_of_libraries():
    trace = of_python(
        'Traceback:\n  File "/srv/a.py", line 1, in f\n    g()\n  File "/usr/lib/python3.12/b.py", line 2, in g\n    h()\n'
        '  File "<frozen os>", line 3, in h\n  File "/srv/c.py", line 4, in i\nE: x'
    )

    assert [(frame.place, frame.code) for frame in trace.own] == [("/srv/c.py:4 i", "E: x"), ("/srv/a.py:1 f", "g()")]


def test_a_field_of_ruby_has_its_own_frames_too():
    trace = of_lines(["/srv/app/hard_job.rb:3:in `perform'", "/usr/lib/ruby/gems/3.2/sidekiq.rb:9:in `x'"])

    assert [frame.place for frame in trace.own] == ["/srv/app/hard_job.rb:3:in `perform'"]


@pytest.mark.parametrize("text", ["", "no traceback", '  File "', "  File \"x\", line 1, in y"])
def test_any_text_is_a_trace(text):
    assert of_python(text).text == text


@pytest.mark.parametrize(
    "marked",
    [
        {"_sk": "enum", "class": "m:print('mine') or dict", "name": "x"},
        {"_sk": "enum", "class": "m:Kind.print()", "name": "x"},
        {"_sk": "enum", "class": "m:", "name": "x"},
        {"_sk": "model", "model": "a.exec('mine = 1') or Order", "pk": 1},
        {"_sk": "model", "model": "a.lambda", "pk": 1},
        {"_sk": "model", "model": "", "pk": 1},
    ],
    ids=str,
)
def test_what_stands_in_redis_is_never_code_of_the_call_to_copy(marked):
    call = as_call("shop.jobs.A", [marked], {})

    assert call == f"A.perform_later({marked!r})"
    assert ast.literal_eval(call.removeprefix("A.perform_later(")[:-1]) == marked
