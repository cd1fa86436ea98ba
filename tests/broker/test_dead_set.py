from __future__ import annotations

import time

from django_sidekick.broker.ownership import Ownership
from django_sidekick.wire.outcome import Outcome
from tests.app.jobs import NoopJob


def bury(settings, at_s):
    own = Ownership(settings, ["default"])
    own.register()
    NoopJob.perform_later()
    (delivery,) = own.fetch([0], 1, [])
    own.acknowledge([Outcome("dead", delivery, member=b"new", at_s=at_s)])


def test_the_dead_set_is_trimmed_as_sidekiq_trims_it(redis, sidekick_settings):
    settings = sidekick_settings(DEAD_MAX_JOBS=10)
    now = time.time()
    redis.zadd("dead", {f"old-{n}": now - n for n in range(20)})

    bury(settings, now + 1)

    assert redis.zcard("dead") == 9
    assert redis.zrange("dead", 0, -1)[-1] == b"new"


def test_what_is_too_old_goes(redis, sidekick_settings):
    settings = sidekick_settings(DEAD_TIMEOUT=60)
    now = time.time()
    redis.zadd("dead", {"old": now - 61, "younger": now - 59})

    bury(settings, now)

    assert redis.zrange("dead", 0, -1) == [b"younger", b"new"]
