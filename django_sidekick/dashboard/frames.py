"""A traceback, the project's own frames first."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

MOST_FRAMES = 200
_FRAME = re.compile(r'^  File "(?P<file>.*)", line (?P<line>\d+), in (?P<name>.*)$')
_OTHERS = re.compile(
    r"(^|[/\\])(site-packages|dist-packages|django_sidekick|gems)[/\\]|[/\\]lib(64)?[/\\]python\d|^<frozen "
)


class Frame(NamedTuple):
    """One frame: where it is, and its line of code ('' where it is not known)."""

    place: str
    code: str


class Trace(NamedTuple):
    """`own`: the frames of the project, the innermost first; `text`: all of it, as it was printed."""

    own: tuple[Frame, ...]
    text: str


def of_python(text: str) -> Trace:
    """Return the frames of a traceback as Python prints it."""
    lines = text.splitlines()
    own = []
    for number, line in enumerate(lines):
        if (match := _FRAME.match(line)) and not is_foreign(match["file"]):
            code = lines[number + 1].strip() if number + 1 < len(lines) else ""
            place = f"{match['file']}:{match['line']} {match['name']}"
            own.append(Frame(place, "" if code.startswith('File "') else code))
    return Trace(tuple(reversed(own[-MOST_FRAMES:])), text)


def of_lines(lines: Sequence[str]) -> Trace:
    """Return the frames of Sidekiq's field error_backtrace, the innermost first as there."""
    own = tuple(Frame(line, "") for line in lines[:MOST_FRAMES] if not is_foreign(line))
    return Trace(own, "\n".join(lines))


def is_foreign(file: str) -> bool:
    """Tell whether a file is a library's, Python's or ours, by its path: it may be of another host."""
    return bool(_OTHERS.search(file))
