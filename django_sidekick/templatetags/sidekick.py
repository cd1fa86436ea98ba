"""Filters and tags of the live pages. Each takes anything that can stand in Redis, and none raises."""

from __future__ import annotations

from typing import Any

import django
from django import template
from django.utils.html import format_html

from django_sidekick.dashboard import names, show

register = template.Library()

_CRUMBS_ARE_A_LIST = django.VERSION >= (6, 1)


@register.filter
def sk_text(value: Any) -> str:
    """Return anything as text; the template escapes it."""
    return show.text(value)


@register.filter
def sk_class(name: Any) -> str:
    """Return a class' name, its module quiet beside it, that may break after each part of it."""
    return show.class_element(name)


@register.filter
def sk_args(job: Any) -> str:
    """Return a job's arguments, or a list of them, in one line of at most 300 characters."""
    return show.arguments(job)


@register.filter
def sk_time(value: Any) -> str:
    """Return epoch seconds or a datetime as <time>: relative, the exact one in `datetime` and `title`.

    What is no time is shown as the text it is; nothing as a dash.
    """
    return show.time_element(value)


@register.filter
def sk_clock(value: Any) -> str:
    """Return a time as sk_time does, the exact one to be read, the relative one in `title`."""
    return show.clock_element(value)


@register.filter
def sk_duration(seconds: Any) -> str:
    """Return seconds as `12 ms`, `2.3 s` or `1 h 33 min`."""
    return show.duration(seconds)


@register.filter
def sk_bytes(count: Any) -> str:
    """Return a number of bytes as `12.3 MiB`."""
    return show.size(count)


@register.filter
def sk_number(count: int) -> str:
    """Return a whole number as the language groups it: `100,000`."""
    return show.figure(count)


@register.filter
def sk_name(name: str) -> str:
    """Return a name that stands in Redis as a form's value: `names.decoded` reads it."""
    return names.encoded(name)


@register.simple_block_tag
def sk_crumbs(content: str) -> str:
    """Return the path to the page, as the admin of this Django writes and styles it."""
    if _CRUMBS_ARE_A_LIST:
        return format_html('<ol class="breadcrumbs">{}</ol>', content)
    return format_html('<div class="breadcrumbs">{}</div>', content)


@register.simple_tag
def sk_crumb(label: Any, url: str = "", *, is_first: bool = False) -> str:
    """Return one step of it; without a URL it is the page itself."""
    step = format_html('<a href="{}">{}</a>', url, label) if url else format_html("{}", label)
    if _CRUMBS_ARE_A_LIST:
        return format_html("<li>{}</li>" if url else '<li aria-current="page">{}</li>', step)
    return step if is_first else format_html("&rsaquo; {}", step)
