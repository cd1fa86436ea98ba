"""A strict Content-Security-Policy on every page: the admin and its live pages need no exception."""

from __future__ import annotations

from collections.abc import Callable

from django.conf import settings
from django.http import HttpRequest, HttpResponse

POLICY = "default-src 'self'; base-uri 'none'; object-src 'none'; form-action 'self'; frame-ancestors 'none'"
EXPLAINED_BY_DJANGO = (404, 500)
"""With DEBUG on, these pages are Django's own, with its scripts and styles inside."""


def strict_policy(get_response: Callable[[HttpRequest], HttpResponse]) -> Callable[[HttpRequest], HttpResponse]:
    """Put the policy on every answer."""

    def answer(request: HttpRequest) -> HttpResponse:
        response = get_response(request)
        if not (settings.DEBUG and response.status_code in EXPLAINED_BY_DJANGO):
            response["Content-Security-Policy"] = POLICY
        return response

    return answer
