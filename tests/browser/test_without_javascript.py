"""Without JavaScript the pages are whole; acts work too (test_acts.py)."""

from __future__ import annotations

import pytest

from tests.browser.test_pages import PAGES

TEXT = r"document.querySelector('.sk-page, #changelist').innerText.replace(/[\d.,]+|\b(now|ago|in|s|seconds?)\b/g, '').replace(/\s+/g, ' ')"
"""Without what changes from one second to the next."""


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page[0])
def test_the_first_paint_has_all_that_a_page_with_scripts_has(visit, stock, page):
    texts = []
    for scripts in (True, False):
        visitor = visit(java_script_enabled=scripts)
        visitor.open(*page)
        visitor.page.evaluate("document.querySelectorAll('[data-copy], .sk-keys').forEach(help => help.remove())")
        texts.append(visitor.page.evaluate(TEXT))

    assert texts[0] == texts[1]
