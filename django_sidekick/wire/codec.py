"""JSON texts. The standard library says what is right; orjson, where it is installed, says the same faster."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable
from typing import Any

from django_sidekick.wire import longnumbers

try:
    if os.environ.get("DJANGO_SIDEKICK_JSON") == "stdlib":
        raise ImportError("switched off")
    import orjson
except ImportError:
    orjson = None  # type: ignore[assignment]

BACKEND = "orjson" if orjson is not None else "stdlib"

_DIGITS = bytes(48 if 48 <= code <= 57 else 32 for code in range(256))
_LONG_NUMBER = b"0" * 19
_BEFORE_NUMBER = frozenset(b" \t\r\n:,[-+eE")
"""What stands before the first digit of a whole number, or of an exponent; before a fraction's is a point, and of a
text's digits a quote or anything."""


def _refuse(name: str) -> Any:
    raise ValueError(f"{name} is no JSON")


def _finite(text: str) -> float:
    """Refuse what is read as infinity, as orjson does: it could not be written again."""
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"{text[:20]} is beyond all floats")
    return number


_decode = json.JSONDecoder(parse_constant=_refuse, parse_float=_finite).decode
_decode_long = json.JSONDecoder(parse_constant=_refuse, parse_float=_finite, parse_int=longnumbers.read).decode
_encode = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False, allow_nan=False, check_circular=True).encode
_encode_ascii = json.JSONEncoder(separators=(",", ":"), allow_nan=False).encode


def _loads_slowly(raw: bytes) -> Any:
    try:
        return _read(raw.decode())
    except RecursionError:
        raise ValueError("nested too deeply") from None


def _read(text: str) -> Any:
    try:
        return _decode(text)
    except json.JSONDecodeError:
        raise
    except ValueError:  # a number: too long for int(), or none that we take
        return _decode_long(text)


def _dumps_slowly(value: Any) -> bytes:
    try:
        return _written(value, _encode).encode()
    except UnicodeEncodeError:
        return _written(value, _encode_ascii).encode()
    except RecursionError:
        raise ValueError("nested too deeply") from None


def _written(value: Any, encode: Callable[[Any], str]) -> str:
    try:
        return encode(value)
    except ValueError:  # a number too long for str(), NaN, or a value that contains itself
        return longnumbers.write_around(value, encode)


def _loads_fast(raw: bytes) -> Any:
    """Read: orjson takes integers beyond 64 bits as floats, hence the look for 19 digits in a row."""
    digits = raw.translate(_DIGITS)
    if _LONG_NUMBER in digits and _is_any_a_number(raw, digits):
        return _loads_slowly(raw)
    try:
        return orjson.loads(raw)
    except ValueError:
        return _loads_slowly(raw)


def _is_any_a_number(raw: bytes, digits: bytes) -> bool:
    """Tell whether any of the long rows of digits may be a number: most are the fraction of a clock's time, or a jid."""
    at = digits.find(_LONG_NUMBER)
    while at > 0 and raw[at - 1] not in _BEFORE_NUMBER:
        end = digits.find(b" ", at)
        at = digits.find(_LONG_NUMBER, end) if end > 0 else -1
    return at >= 0


def _dumps_fast(value: Any) -> bytes:
    """Write: orjson refuses integers beyond 64 bits and lone surrogates, and writes NaN as null: ask for neither."""
    try:
        return orjson.dumps(value, option=orjson.OPT_PASSTHROUGH_SUBCLASS)
    except TypeError:
        return _dumps_slowly(value)


loads = _loads_fast if orjson is not None else _loads_slowly
"""Return the value of a JSON text. Raise ValueError for anything else; UnicodeDecodeError is one.

A number that cannot be written again is none: `1e999`, or a whole one of more than 100,000 digits.
"""

dumps = _dumps_fast if orjson is not None else _dumps_slowly
"""Return the compact UTF-8 text of a value of plain types. NaN must have been refused before.

Raise ValueError for what loads() would not read again: too deep, or a whole number that is too long.
"""
