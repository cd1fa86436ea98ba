"""JSON texts. The standard library says what is right; orjson, where it is installed, says the same faster."""

from __future__ import annotations

import json
import os
from typing import Any

try:
    if os.environ.get("DJANGO_SIDEKICK_JSON") == "stdlib":
        raise ImportError("switched off")
    import orjson
except ImportError:
    orjson = None  # type: ignore[assignment]

BACKEND = "orjson" if orjson is not None else "stdlib"

_DIGITS = bytes(48 if 48 <= code <= 57 else 32 for code in range(256))
_LONG_NUMBER = b"0" * 19


def _refuse(name: str) -> Any:
    raise ValueError(f"{name} is no JSON")


_decode = json.JSONDecoder(parse_constant=_refuse).decode
_encode = json.JSONEncoder(
    separators=(",", ":"), ensure_ascii=False, allow_nan=False, check_circular=True
).encode
_encode_ascii = json.JSONEncoder(separators=(",", ":"), allow_nan=False).encode


def _loads_slowly(raw: bytes) -> Any:
    try:
        return _decode(raw.decode())
    except RecursionError:
        raise ValueError("nested too deeply") from None


def _dumps_slowly(value: Any) -> bytes:
    try:
        text = _encode(value)
        return text.encode()
    except UnicodeEncodeError:
        return _encode_ascii(value).encode()
    except RecursionError:
        raise ValueError("nested too deeply") from None


def _loads_fast(raw: bytes) -> Any:
    """Read: orjson takes integers beyond 64 bits as floats, hence the look for 19 digits in a row."""
    if _LONG_NUMBER in raw.translate(_DIGITS):
        return _loads_slowly(raw)
    try:
        return orjson.loads(raw)
    except ValueError:
        return _loads_slowly(raw)


def _dumps_fast(value: Any) -> bytes:
    """Write: orjson refuses integers beyond 64 bits and lone surrogates, and writes NaN as null: ask for neither."""
    try:
        return orjson.dumps(value, option=orjson.OPT_PASSTHROUGH_SUBCLASS)
    except TypeError:
        return _dumps_slowly(value)


loads = _loads_fast if orjson is not None else _loads_slowly
"""Return the value of a JSON text. Raise ValueError for anything else; UnicodeDecodeError is one."""

dumps = _dumps_fast if orjson is not None else _dumps_slowly
"""Return the compact UTF-8 text of a value of plain types. NaN must have been refused before."""
