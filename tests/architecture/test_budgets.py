"""What a reader can hold: sizes, names, imports. A budget is raised by an ADR, not by a list of exceptions."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent
PACKAGE = ROOT / "django_sidekick"
FILES = sorted(path for path in PACKAGE.rglob("*.py") if "migrations" not in path.parts)
FUNCTION = (ast.FunctionDef, ast.AsyncFunctionDef)
LAZY_IMPORTS = {"apps.py:ready"}
BROAD = {
    "broker/connection.py",
    "jobs/execute.py",
    "jobs/failures.py",
    "worker/spawner.py",
    "worker/eventloop.py",
    "jobs/commit.py",
    "worker/intake.py",
    "history/feed.py",
    "worker/threads.py",
    "worker/child.py",
    "worker/custody.py",
    "worker/recovery.py",
    "wire/payload.py",
    "wire/serializers.py",
    "broker/waiting.py",
    "broker/due.py",
    "worker/joblog.py",
    "history/recorder.py",
    "history/store.py",
}
"""Where errors of others' code arrive; each stands with its reason beside it."""


def tree(path):
    return ast.parse(path.read_text())


def functions(path):
    return [node for node in ast.walk(tree(path)) if isinstance(node, FUNCTION)]


def name(path):
    return str(path.relative_to(PACKAGE))


@pytest.mark.parametrize("path", FILES, ids=name)
def test_a_file_fits_in_a_head(path):
    assert path.read_text().count("\n") <= 300


@pytest.mark.parametrize("path", FILES, ids=name)
def test_a_function_fits_on_a_screen(path):
    for node in functions(path):
        first = node.body[1] if ast.get_docstring(node) and len(node.body) > 1 else node.body[0]
        assert node.end_lineno - first.lineno + 1 <= 40, node.name
        given = [a for a in (*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs) if a.arg not in ("self", "cls")]
        assert len(given) <= 6, node.name


@pytest.mark.parametrize("path", FILES, ids=name)
def test_public_names_have_contracts(path):
    module = tree(path)
    assert ast.get_docstring(module)
    for node in module.body:
        if isinstance(node, (*FUNCTION, ast.ClassDef)) and not node.name.startswith("_"):
            assert ast.get_docstring(node), node.name


@pytest.mark.parametrize("path", FILES, ids=name)
def test_imports_stand_at_the_top(path):
    for node in functions(path):
        for inner in ast.walk(node):
            if isinstance(inner, ast.Import | ast.ImportFrom):
                assert f"{path.name}:{node.name}" in LAZY_IMPORTS


@pytest.mark.parametrize("path", FILES, ids=name)
def test_broad_excepts_stand_where_errors_of_others_arrive(path):
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.ExceptHandler):
            assert node.type is not None
            if isinstance(node.type, ast.Name) and node.type.id in {"Exception", "BaseException"}:
                assert name(path) in BROAD


@pytest.mark.parametrize("path", FILES, ids=name)
def test_nobody_imports_the_package_itself(path):
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.ImportFrom) and node.module == "django_sidekick":
            assert {alias.name for alias in node.names} <= {
                path.stem for path in PACKAGE.iterdir()
            }


def test_no_test_sleeps():
    for path in (ROOT / "tests").rglob("*.py"):
        if "crash" in path.parts:
            continue
        for node in ast.walk(tree(path)):
            if isinstance(node, ast.Call):
                called = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
                assert called != "sleep", f"{path}:{node.lineno}"


def test_every_script_says_what_it_moves():
    for path in PACKAGE.rglob("*.lua"):
        text = path.read_text()
        assert text.startswith("-- ")
        if path.stem not in {"settle", "fencing", "returning", "events", "roomless"}:
            for word in ("KEYS", "ARGV", "RETURNS", "ATOMIC", "COST"):
                assert f"\n-- {word}" in text, f"{path.name} says nothing of {word}"
        assert "cjson.encode" not in text


def test_rooms_import_downwards_only():
    done = subprocess.run(
        [Path(sys.executable).parent / "lint-imports"], cwd=ROOT, capture_output=True, text=True, check=False
    )

    assert done.returncode == 0, done.stdout
