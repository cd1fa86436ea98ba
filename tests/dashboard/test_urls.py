from __future__ import annotations

from urllib.parse import unquote

import pytest
from django.urls import resolve, reverse

ODD = ["low", "a/b", "a b", "it's \"q\"", "50%", "a?b#c", "~", "~61", "\n", "a\nb", "\udcff", "\ud800", ".", "..", "a/../b", "/a", "a//b", "a/", "", "ü", "\\", "é\u2028"]


@pytest.mark.parametrize("page", ["queue", "job"])
@pytest.mark.parametrize("name", ODD)
def test_any_name_has_a_url_that_leads_back_to_it(page, name):
    url = reverse(f"admin:sidekick_{page}", args=[name])

    assert url.isascii()
    assert "/../" not in url and "//" not in url
    assert list(resolve(unquote(url)).kwargs.values()) == [name]
