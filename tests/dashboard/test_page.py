from __future__ import annotations

import html
import re
from functools import partial
from pathlib import Path
from urllib.parse import quote

import pytest
from django.contrib.staticfiles import finders
from django.urls import reverse

from django_sidekick.broker.console import get_console
from django_sidekick.broker.numbers import Numbers, numbers
from tests.conftest import free_port, in_time

PAGES = ["overview", "queues", "busy", "retries", "scheduled", "dead", "processes", "metrics", "search", "queue", "job"]
ARGS = {"queue": ["low"], "job": ["a" * 24]}


@pytest.mark.parametrize("page", PAGES)
@pytest.mark.parametrize("site", ["admin", "own"])
def test_a_page_opens_on_any_admin_site_for_who_may_see_jobs(redis, client, viewer, page, site):
    answer = client.get(reverse(f"admin:sidekick_{page}", args=ARGS.get(page), current_app=site))

    assert answer.status_code == 200
    assert f"/{site}/django_sidekick/live/" in answer.content.decode()


@pytest.mark.parametrize("page", PAGES)
def test_who_may_not_see_jobs_gets_403_and_who_is_not_logged_in_the_login(redis, client, staff, page):
    url = reverse(f"admin:sidekick_{page}", args=ARGS.get(page))

    for asked in (url, f"{url}?live=1"):
        assert client.get(asked).headers["Location"] == f"/admin/login/?next={quote(asked)}"
    staff()
    assert client.get(url).status_code == 403


def test_the_index_of_the_admin_links_the_live_pages(client, viewer):
    assert '<a href="/admin/django_sidekick/live/"' in client.get("/admin/").content.decode()


PATH = re.compile(r'<(?:div|ol) class="breadcrumbs">.*?</(?:div|ol)>', re.DOTALL)


def test_the_path_to_a_page_is_written_as_this_admin_writes_its_own(redis, client, viewer):
    """Django 6.1 styles a list, those before it a line."""
    own, theirs = (PATH.search(client.get(reverse(f"admin:{name}")).content.decode())[0] for name in (
        "sidekick_retries", "django_sidekick_jobrecord_changelist",
    ))  # fmt: skip
    skeletons = [re.findall(r"<(\w+)", path) for path in (own, theirs)]
    words = [re.sub(r"\s+", " ", html.unescape(re.sub(r"<[^>]+>", " ", path))).strip() for path in (own, theirs)]

    assert skeletons[0] == skeletons[1]
    assert re.split(r"[ \u203a]+", words[0]) == ["Home", "Live", "Retries"]
    assert words[1].replace("Sidekick", "Live").replace("Jobs", "Retries") == words[0]


def test_no_colour_hangs_on_a_variable_that_a_theme_may_not_have():
    """jazzmin's, unfold's and others' admins have not Django's: white buttons would stand on white."""
    css = Path(finders.find("django_sidekick/sidekick.css")).read_text()
    named = re.findall(r"var\(--([a-z-]+)\)", css)

    assert [name for name in named if f"--{name}:" not in css] == []


def test_the_bar_counts_what_is_in_redis_and_ignores_keys_of_another_type(redis):
    redis.sadd("queues", "a", "b")
    redis.rpush("queue:a", "1", "2")
    redis.set("queue:b", "no list")
    redis.sadd("processes", "p")
    redis.hset("p", "busy", 3)
    redis.zadd("retry", {"x": 1})
    redis.set("stat:processed", 7)
    console = get_console()

    answers = console.ask({"numbers": numbers(console.keys)})

    assert answers["numbers"] == Numbers(7, 0, 3, 2, 1, 0, 0)


def test_without_redis_a_page_says_so_within_a_second(client, viewer, sidekick_settings):
    sidekick_settings(REDIS=f"redis://127.0.0.1:{free_port()}/0")

    answer = in_time(partial(client.get, reverse("admin:sidekick_overview")), 1)

    assert "is away" in answer.content.decode()
