"""Names that stand in Redis, whatever their bytes, in URLs and forms. Pure."""

from __future__ import annotations

import re

_PLAIN = re.compile(r"(?![~/])(?!.*(?:^|/)\.{0,2}(?:/|$))[^\x00-\x1f\x7f-\x9f\ud800-\udfff\u2028\u2029]+")


def encoded(name: str) -> str:
    """Return a name as it is, or as `~` and the hex digits of its UTF-8: what any URL and any form can hold.

    The second is for what a URL, a form or a browser would change or refuse: control characters, bytes that are
    no UTF-8 (lone surrogates here), empty names and segments, dots.
    """
    return name if _PLAIN.fullmatch(name) else f"~{name.encode(errors='surrogatepass').hex()}"


def decoded(text: str) -> str:
    """Return the name; what only looks like hex digits is a name as it stands."""
    if text.startswith("~"):
        try:
            return bytes.fromhex(text[1:]).decode(errors="surrogatepass")
        except ValueError:
            return text
    return text
