"""What a person reads on a page: its texts, and the attributes that are shown or read out."""

from __future__ import annotations

import re
from html.parser import HTMLParser

READ_OUT = ("title", "aria-label", "placeholder", "alt", "data-label", "data-marked", "data-unmarked")
VOID = ("input", "meta", "link", "img", "br", "hr")
AS_IT_IS = ("script", "style", "code", "pre", "kbd")
"""What is no language: code, data and keys."""


class Reader(HTMLParser):
    """Collects what stands in the pages' own part of the admin, its path and its messages."""

    def __init__(self) -> None:
        super().__init__()
        self.texts: list[str] = []
        self.attributes: list[str] = []
        self._open: list[tuple[str, bool, bool]] = []

    def handle_starttag(self, tag, attrs):
        words = dict(attrs)
        is_own, is_data = self._open[-1][1:] if self._open else (False, False)
        is_own = is_own or words.get("id") == "content" or words.get("class") in ("breadcrumbs", "messagelist")
        is_data = is_data or tag in AS_IT_IS or words.get("class") in ("sk-jid", "sk-class", "sk-error-class", "sk-message")
        if is_own and not is_data:
            self.attributes += [text for name, text in attrs if name in READ_OUT and text and tag != "time"]
        if tag not in VOID:
            self._open.append((tag, is_own, is_data))

    def handle_startendtag(self, tag, attrs):
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self._open.pop()

    def handle_endtag(self, tag):
        while self._open and self._open.pop()[0] != tag:
            pass

    def handle_data(self, data):
        if self._open and self._open[-1][1]:
            self.texts.append("" if self._open[-1][2] else data)


def read(html: str) -> tuple[str, list[str]]:
    """Return the running text of a page, and its attributes one by one."""
    reader = Reader()
    reader.feed(html)
    return "".join(reader.texts), reader.attributes


def unmarked(text: str) -> str:
    """Return what stands outside of ⟦…⟧, however they are nested."""
    before = ""
    while before != text:
        before, text = text, re.sub("⟦[^⟦⟧]*⟧", " ", text)
    return text
