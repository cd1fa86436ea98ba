"""What Redis refuses to say is said, not shown as nothing."""

from __future__ import annotations

import pytest
from django.urls import reverse

from tests.dashboard import live
from tests.dashboard.sets import fill

pytestmark = pytest.mark.django_db
PAGES = ["overview", "queues", "busy", "retries", "scheduled", "dead", "processes"]


@pytest.fixture
def limited(redis, sidekick_settings):
    """Return a function that makes this project's user of Redis one with these rules."""

    def become(*rules: str) -> None:
        redis.execute_command("ACL", "SETUSER", "limited", "reset", "on", ">secret", "+@all", "allkeys", "allchannels", *rules)
        port = redis.connection_pool.connection_kwargs["port"]
        sidekick_settings(REDIS=f"redis://limited:secret@127.0.0.1:{port}/0")

    yield become
    redis.execute_command("ACL", "DELUSER", "limited")


@pytest.mark.parametrize("page", PAGES)
def test_a_page_says_that_redis_refuses_and_shows_no_zeros(redis, client, destroyer, limited, page):
    live.enqueue(redis, live.job())
    fill(redis, "retry", range(1, 4))
    limited("resetkeys", "~other:*")

    news = client.get(reverse(f"admin:sidekick_{page}") + "?live=1").json()

    assert "refuses: " in news["away"]
    assert news["numbers"] == {}


def test_a_search_that_redis_refuses_has_not_found_nothing(redis, client, destroyer, limited):
    limited("resetkeys", "~other:*")

    answer = client.get(reverse("admin:sidekick_job", args=["j" * 24]))

    assert answer.status_code == 200
    assert "refuses: " in answer.content.decode()


def test_an_act_that_redis_refuses_is_said_and_not_logged(redis, client, destroyer, limited):
    fill(redis, "retry", range(1, 4))
    limited("resetkeys", "~other:*")

    answer = client.post(reverse("admin:sidekick_retries"), {"action": "clear", "post": "yes"}, follow=True)

    assert "refuses: " in " ".join(map(str, answer.context["messages"]))
    assert redis.zcard("retry") == 3


@pytest.mark.parametrize("page", PAGES)
def test_who_may_not_ask_for_info_sees_all_the_rest(redis, client, destroyer, limited, page):
    fill(redis, "retry", range(1, 4))
    limited("-info")

    news = client.get(reverse(f"admin:sidekick_{page}") + "?live=1").json()

    assert news["away"] == ""
    assert news["numbers"]["retries"] == 3
