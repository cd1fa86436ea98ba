"""What stands in the code to be translated, and what a catalogue has: read without gettext's programs."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from babel.messages.catalog import Catalog
from babel.messages.pofile import read_po
from django.utils.translation.template import templatize

import django_sidekick

PACKAGE = Path(django_sidekick.__file__).parent
LOCALE = PACKAGE / "locale"
PLACEHOLDERS = re.compile(r"%(?:\(\w+\))?[sd]|%%|\{\w*\}")

_CALL = re.compile(r"(?<!\w)(?:_|n?p?gettext)\(")
_MESSAGES = {"gettext": 1, "ngettext": 2, "pgettext": 2, "npgettext": 3}
"""Arguments of each function that are texts; a context stands first."""


class Message(NamedTuple):
    """One text; `plural` is None for one without a number, `context` for one without a context."""

    context: str | None
    singular: str
    plural: str | None


def messages_of(catalogue: Catalog) -> dict[Message, tuple[str, ...]]:
    """Return the texts of a catalogue, each with its translation, or one for each plural form of the language."""
    found = {}
    for message in catalogue:
        if message.id:
            single, plural = (message.id, None) if isinstance(message.id, str) else message.id
            said = (message.string,) if isinstance(message.id, str) else message.string
            context = message.context  # bytes, where Babel has read a compiled one
            context = context.decode() if isinstance(context, bytes) else context
            found[Message(context, single, plural)] = tuple(said)
    return found


def catalogue(language: str) -> Catalog:
    with (LOCALE / language / "LC_MESSAGES" / "django.po").open("rb") as file:
        return read_po(file, locale=language)


def in_the_code() -> Iterator[Message]:
    """Return every text that is marked in Python and in templates. A mark around what is no text is an error."""
    for path in PACKAGE.rglob("*.py"):
        yield from _in_python(path.read_text(), str(path))
    for path in PACKAGE.rglob("*.html"):
        yield from _in_template(path.read_text(), str(path))


def _in_python(source: str, place: str) -> Iterator[Message]:
    tree = ast.parse(source)
    names: dict[str, str] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module == "django.utils.translation":
            names |= {a.asname or a.name: a.name.removesuffix("_lazy") for a in node.names}
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            kind = names.get(node.func.id, "")
            if kind in _MESSAGES:
                yield _message(kind, node.args, f"{place}:{node.lineno}")


def _in_template(source: str, place: str) -> Iterator[Message]:
    """Django turns a template into calls of Python, between words that are none."""
    text = templatize(source)
    for match in _CALL.finditer(text):
        end = match.end()
        while True:  # a bracket may stand in the text
            end = text.index(")", end) + 1
            try:
                call = ast.parse(text[match.start() : end], mode="eval").body
            except SyntaxError:
                continue
            break
        assert isinstance(call, ast.Call) and isinstance(call.func, ast.Name)
        kind = "gettext" if call.func.id == "_" else call.func.id
        yield _message(kind, call.args, place)


def _message(kind: str, args: list[ast.expr], place: str) -> Message:
    texts = [arg.value if isinstance(arg, ast.Constant) else None for arg in args[: _MESSAGES[kind]]]
    assert all(isinstance(text, str) for text in texts), f"{place}: {kind}() of what is no text"
    context = texts.pop(0) if kind in ("pgettext", "npgettext") else None
    return Message(context, texts[0], texts[1] if len(texts) > 1 else None)
