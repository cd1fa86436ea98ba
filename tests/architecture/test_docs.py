"""The pages say what the code says: a setting, a check, a key, a command or a name is missing in neither."""

from __future__ import annotations

import argparse
import ast
import inspect
import re
from datetime import timedelta
from pathlib import Path

import pytest

import django_sidekick
from django_sidekick import signals
from django_sidekick.broker.keys import Keys
from django_sidekick.conf import _READERS, build_settings
from django_sidekick.jobs.options import JobOptions
from django_sidekick.management.commands import runworker, sidekick

ROOT = Path(__file__).resolve().parent.parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
REFERENCE = ROOT / "docs" / "reference"
ROW = re.compile(r"^\| `([^`]+)` \|(.*)\|$", re.MULTILINE)
CHECK_ID = re.compile(r"sidekick\.[EW]\d{3}")


def text_of(path):
    return path.read_text("utf-8")


def rows_of(path):
    """First cell of each row, which is code -> its other cells."""
    cells = {}
    for name, rest in ROW.findall(text_of(path).replace(r"\|", "\0")):
        cells[name.replace("\0", "|")] = [cell.strip().replace("\0", "|") for cell in rest.split("|")]
    return cells


def first_cells(path):
    """The text of the first column of all tables."""
    return " ".join(re.findall(r"^\| ([^|]+) \|", text_of(path), re.MULTILINE))


def options_of(parser):
    actions = [a for a in parser._actions if not isinstance(a, argparse._HelpAction)]
    return {option for action in actions for option in action.option_strings}


@pytest.mark.parametrize("key", _READERS)
def test_a_setting_stands_on_its_page_with_its_default(key):
    default = rows_of(REFERENCE / "settings.md")[key][0].strip("`")
    value = eval(default, {"timedelta": timedelta})

    assert build_settings({key: value}) == build_settings({})


def test_the_settings_page_names_no_other_setting():
    assert {key for key in rows_of(REFERENCE / "settings.md") if key.isupper()} == set(_READERS)


def test_checks_and_their_page_have_the_same_ids():
    package = (ROOT / "django_sidekick").rglob("*.py")
    in_code = {found for path in package for found in CHECK_ID.findall(text_of(path))}

    assert {key for key in rows_of(REFERENCE / "checks.md") if CHECK_ID.fullmatch(key)} == in_code


def keys_in_code():
    keys = Keys()
    yield from (key for name, key in vars(keys).items() if name != "prefix" and not name.startswith("_"))
    for name, method in inspect.getmembers(keys, inspect.ismethod):
        if name.startswith("_"):
            continue
        parameters = inspect.signature(method).parameters.values()
        yield method(*(p.name.upper() for p in parameters))
        if any(p.default is None for p in parameters):
            yield method(*(p.name.upper() for p in parameters if p.default is p.empty))


@pytest.mark.parametrize("key", sorted(keys_in_code()))
def test_a_key_stands_on_its_page_with_type_writer_score_and_ttl(key):
    cells = rows_of(REFERENCE / "keys.md")[key]

    assert len(cells) == 4
    assert all(cells)


def test_the_keys_page_names_no_other_key():
    assert set(rows_of(REFERENCE / "keys.md")) == set(keys_in_code())


def test_every_option_of_runworker_stands_on_the_commands_page():
    parser = argparse.ArgumentParser()
    runworker.Command().add_arguments(parser)
    text = first_cells(REFERENCE / "commands.md")

    assert {option for option in options_of(parser) if f"`{option}" not in text} == set()


def test_every_verb_of_sidekick_stands_on_the_commands_page_with_its_options():
    parser = sidekick.Command().create_parser("manage.py", "sidekick")
    verbs = next(a for a in parser._actions if isinstance(a, argparse._SubParsersAction)).choices
    text = first_cells(REFERENCE / "commands.md")

    assert {verb for verb in verbs if f"manage.py sidekick {verb}" not in text} == set()
    for verb, inner in verbs.items():
        assert {option for option in options_of(inner) if f"`{option}" not in text} == set(), verb


@pytest.mark.parametrize("name", django_sidekick.__all__)
def test_a_public_name_stands_on_the_page_about_jobs(name):
    assert re.search(rf"\b{name}\b", text_of(ROOT / "docs" / "jobs.md"))


@pytest.mark.parametrize("option", sorted(JobOptions.__annotations__))
def test_an_option_of_set_stands_on_the_page_about_jobs(option):
    assert f"`{option}`" in text_of(ROOT / "docs" / "jobs.md")


@pytest.mark.parametrize("name", [name for name in vars(signals) if name.startswith(("worker_", "enqueue_"))])
def test_a_signal_stands_on_the_page_about_jobs(name):
    assert f"`{name}`" in text_of(ROOT / "docs" / "jobs.md")


@pytest.mark.parametrize("path", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_python_in_a_page_compiles(path):
    for block in re.findall(r"^```python\n(.*?)^```$", text_of(path), re.MULTILINE | re.DOTALL):
        compile(block, str(path), "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)


@pytest.mark.parametrize("path", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_link_to_a_file_leads_somewhere(path):
    for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", text_of(path)):
        assert (path.parent / target).exists(), target


def test_every_picture_is_on_a_page_and_every_page_has_its_pictures():
    shown = {name for path in PAGES for name in re.findall(r"screenshots/([\w-]+)\.png", text_of(path))}
    taken = {path.stem for path in (ROOT / "docs" / "screenshots").glob("*.png")}

    assert shown <= taken
    assert {name.rpartition("-")[0] for name in shown} == {name.rpartition("-")[0] for name in taken}
