"""What goes wrong below the dashboard is said in the reader's language; the server's own words stay."""

from __future__ import annotations

import pytest
from django.utils import translation

from django_sidekick import push
from django_sidekick.broker.broker import get_broker
from django_sidekick.broker.console import get_console
from django_sidekick.broker.inspector import Inspector
from django_sidekick.dashboard.sentences import sentence
from django_sidekick.exceptions import BrokerUnavailable, EnqueueError, SidekickError, WrongType


def met(act):
    with pytest.raises(SidekickError) as met:
        act()
    return met.value


def in_both(error):
    said = [sentence(error)]
    with translation.override("vi"):
        said.append(sentence(error))
    return said


def test_redis_that_is_away(sidekick_settings):
    sidekick_settings(REDIS="redis://127.0.0.1:1/0")
    english, vietnamese = in_both(met(lambda: get_console().ask({"all": iter([[("PING",)]])})))

    assert english.startswith("Redis at 127.0.0.1:1 is away: Error 111")
    assert vietnamese.startswith("Không kết nối được Redis tại 127.0.0.1:1: Error 111")


def test_a_push_that_redis_refuses(redis):
    redis.set("queue:default", "a text")
    error = met(lambda: push("Job", [1]))
    english, vietnamese = in_both(error)

    assert isinstance(error, EnqueueError)
    assert english.startswith("1 job was not pushed: Redis refuses: WRONGTYPE")
    assert vietnamese.startswith("1 tác vụ chưa được đưa vào hàng đợi: Redis từ chối: WRONGTYPE")


def test_a_queue_that_is_none(redis):
    redis.set("queue:low", "a text")
    redis.zadd("retry", {'{"class":"J","args":[],"jid":"a","queue":"low"}': 1e9})
    error = met(lambda: Inspector(get_broker()).retry("a"))
    english, vietnamese = in_both(error)

    assert isinstance(error, WrongType)
    assert english == (
        "The key queue:low, or that of the queues' names, holds something of another kind; the job stays in retry."
    )
    assert vietnamese.startswith("Khóa queue:low, hoặc khóa chứa tên các hàng đợi")


def test_what_has_no_words_here_is_said_as_it_is():
    for error in (SidekickError("as it is"), BrokerUnavailable("as it is")):
        assert in_both(error) == ["as it is", "as it is"]
