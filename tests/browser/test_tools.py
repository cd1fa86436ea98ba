"""The checks find what they are there to find."""

from __future__ import annotations

import re
from functools import partial

import pytest

from tests.conftest import wait_until

BAD = {
    "no caption": "<table><tr><th scope=col>a</th></tr></table>",
    "no scope": "<table><caption>c</caption><tr><th>a</th></tr></table>",
    "no label": "<input name=q>",
    "no name": "<button></button>",
    "style attribute": "<p style='margin: 0'>a</p>",
    "address: ": "<a href=' JavaScript:alert(1)'>a</a>",
    "id twice": "<p id=a></p><p id=a></p>",
    "sideways": "<pre>" + "wide " * 500 + "</pre>",
    "more than one h1": "<h1>a</h1><h1>b</h1>",
    "2.85 <p": "<font color='#999'><p>pale</p></font>",
    "2.17 <b": "<table bgcolor='#444'><caption>c</caption><tr><td><font color='#777'><b>dark</b></font></table>",
}


@pytest.mark.parametrize("complaint", BAD)
def test_what_is_bad_is_complained_of(visit, complaint):
    visitor = visit(None)
    visitor.page.set_content(f"<!doctype html><div id=content>{BAD[complaint]}</div>")

    assert [found for found in visitor.complaints() if found.startswith(complaint)]


def test_what_is_good_is_not(visit):
    visitor = visit(None)
    visitor.page.set_content(
        "<!doctype html><div id=content><h1>a</h1><table><caption>c</caption><tr><th scope=col>a</th></tr></table>"
        "<label>q <input></label><button>b</button><a href='/x'>a</a><font color='#777' size=6>large</font></div>"
    )

    assert visitor.complaints() == []


WRONG = {
    "script: .*thrown": "setTimeout(() => { throw new Error('thrown') })",
    "console: said": "console.error('said')",
    "dialog: asked": "setTimeout(() => alert('asked'))",
    "policy: script-src": "document.body.appendChild(document.createElement('script')).textContent = 'var a'",
    "policy: style-src": "document.body.setAttribute('style', 'color: red')",
    "policy: connect-src": "fetch('http://127.0.0.1:1/')",
    "answer: 404": "fetch('/nowhere/')",
}


def has_heard(visitor, fault):
    return any(re.search(fault, found) for found in visitor.faults())


def test_what_goes_wrong_is_heard(visit):
    visitor = visit()
    visitor.open("overview")
    for script in WRONG.values():
        visitor.page.evaluate(f"() => {{ {script} }}")

    for fault in WRONG:
        wait_until(partial(has_heard, visitor, fault), fault)
    visitor.forgiven.append("")
