"""Whole numbers of more digits than the interpreter converts (4,300: sys.get_int_max_str_digits).

Decimal's conversion knows no such limit, and changes no setting of the process. It takes quadratic time, a quarter
of a second for 100,000 digits: that is the bound here.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable
from decimal import Decimal
from typing import Any

MOST_DIGITS = 100_000
_MOST_BITS = 332_193
_SHORT_BITS = 2_000
"""600 digits, which every interpreter converts: the limit cannot be set below 640."""


def read(text: str) -> int:
    """Return the number. Raise ValueError if it has more than 100,000 digits."""
    if len(text.lstrip("-")) > MOST_DIGITS:
        raise ValueError(f"a whole number of more than {MOST_DIGITS:,} digits")
    return int(Decimal(text))


def write(number: int) -> str:
    """Return its decimal text. Raise ValueError if it has more than 100,000 digits."""
    if number.bit_length() <= _MOST_BITS:
        text = str(Decimal(number))
        if len(text.lstrip("-")) <= MOST_DIGITS:
            return text
    raise ValueError(f"a whole number of more than {MOST_DIGITS:,} digits")


def write_around(value: Any, encode: Callable[[Any], str]) -> str:
    """Return the text that `encode` makes of a value of plain types, its long numbers written here."""
    mark, texts = secrets.token_hex(16), []

    def without(inner: Any) -> Any:
        if type(inner) is int and inner.bit_length() > _SHORT_BITS:
            texts.append(write(inner))
            return f"{mark}{len(texts) - 1}"
        if isinstance(inner, list | tuple):
            return [without(item) for item in inner]
        if isinstance(inner, dict):
            return {key: without(item) for key, item in inner.items()}
        return inner

    text = encode(without(value))
    return re.sub(f'"{mark}(\\d+)"', lambda found: texts[int(found[1])], text)


def path_to_too_long(value: Any, path: str = "") -> str:
    """Return where the first number stands that write() refuses, such as `args[0]['a']`; '' if nowhere."""
    if type(value) is int and value.bit_length() > _SHORT_BITS:
        try:
            write(value)
        except ValueError:
            return path
    items: Any = ()
    if isinstance(value, list | tuple):
        items = ((f"{path}[{index}]", item) for index, item in enumerate(value))
    elif isinstance(value, dict):
        items = ((f"{path}[{key!r}]" if path else str(key), item) for key, item in value.items())
    return next((found for where, item in items if (found := path_to_too_long(item, where))), "")
