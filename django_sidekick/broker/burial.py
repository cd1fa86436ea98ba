"""The dead set's limits, as commands."""

from __future__ import annotations

from django_sidekick.broker.keys import Keys
from django_sidekick.conf import Settings
from django_sidekick.wire.outcome import FollowUp


def trimming(settings: Settings, keys: Keys, now_s: float) -> list[FollowUp]:
    """Return what keeps the dead set within DEAD_TIMEOUT and DEAD_MAX_JOBS.

    Sidekiq's arithmetic, which leaves DEAD_MAX_JOBS - 1.
    """
    oldest = repr(now_s - settings.dead_timeout_s)
    return [
        FollowUp("ZREMRANGEBYSCORE", keys.dead, ("-inf", oldest)),
        FollowUp("ZREMRANGEBYRANK", keys.dead, (0, -settings.dead_max_jobs)),
    ]
