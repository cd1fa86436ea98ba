from __future__ import annotations

import pytest

from django_sidekick.exceptions import UnknownJob
from django_sidekick.wire.outcome import Delivery, Outcome
from django_sidekick.worker.tally import BUCKETS_MS, Tally

DELIVERY = Delivery(256, "q", b"")
PAYLOAD = {"class": "A", "args": []}


def counted(*outcomes):
    tally = Tally()
    tally.count(outcomes)
    return tally.totals()


@pytest.mark.parametrize(("duration_s", "bucket"), [(0.0, 0), (0.0199, 0), (0.02, 1), (0.0301, 2), (334.9, 24), (335.0, 25), (1e9, 25)])
def test_run_times_fall_into_sidekiqs_buckets(duration_s, bucket):
    _, _, classes = counted(Outcome("done", DELIVERY, PAYLOAD, 0.0, duration_s))

    histogram = classes["A"][3:]
    assert len(histogram) == len(BUCKETS_MS) + 1
    assert histogram.index(1) == bucket


def test_failed_runs_are_counted_and_not_timed():
    processed, failed, classes = counted(Outcome("retry", DELIVERY, PAYLOAD, 0.0, 5.0, ValueError()))

    assert (processed, failed, classes["A"][:3]) == (1, 1, [1, 1, 0.0])
    assert sum(classes["A"][3:]) == 0


def test_unknown_classes_count_in_the_totals_only():
    assert counted(Outcome("retry", DELIVERY, PAYLOAD, error=UnknownJob("A"))) == (1, 1, {})


def test_malformed_and_released_jobs_count_nowhere():
    outcomes = Outcome("dead", DELIVERY, None, error=ValueError()), Outcome("released", DELIVERY, PAYLOAD)

    assert counted(*outcomes) == (0, 0, {})


def test_wrapped_classes_count_under_their_own_name():
    assert list(counted(Outcome("done", DELIVERY, {**PAYLOAD, "wrapped": "Mine"}))[2]) == ["Mine"]


def test_a_name_that_redis_cannot_hold_is_counted_scrubbed():
    odd = Outcome("done", DELIVERY, {**PAYLOAD, "wrapped": "A\ud800"})

    assert counted(odd, odd)[2]["A\ufffd"][0] == 2
