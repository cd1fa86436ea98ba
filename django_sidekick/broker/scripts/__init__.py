"""The Lua files, by name. A line `-- include NAME` stands for the functions of that file."""

from __future__ import annotations

import hashlib
import re
from functools import cache
from importlib import resources
from typing import NamedTuple

_INCLUDE = re.compile(r"^-- include (\w+)$", re.MULTILINE)


class Script(NamedTuple):
    """The text of one script and the SHA-1 by which Redis knows it."""

    name: str
    text: str
    sha: str


@cache
def load(name: str) -> Script:
    """Return the script in `NAME.lua`. Raise FileNotFoundError if there is none."""
    return script(name, _read(name))


def script(name: str, text: str) -> Script:
    """Return a script of given text: a feature's own, or one read by `load`."""
    return Script(name, text, hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest())


def _read(name: str) -> str:
    text = resources.files(__package__).joinpath(f"{name}.lua").read_text("utf-8")
    return _INCLUDE.sub(lambda match: _read(match[1]), text)
