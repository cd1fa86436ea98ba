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

    text: str
    sha: str


@cache
def load(name: str) -> Script:
    """Return the script in `NAME.lua`. Raise FileNotFoundError if there is none."""
    text = _read(name)
    return Script(text, hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest())


def _read(name: str) -> str:
    text = resources.files(__package__).joinpath(f"{name}.lua").read_text("utf-8")
    return _INCLUDE.sub(lambda match: _read(match[1]), text)
