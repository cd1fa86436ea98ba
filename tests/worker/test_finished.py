"""Outcomes on their way to Redis: they stand in the deque, or in the hand of whoever settles them."""

from __future__ import annotations

import pytest

from django_sidekick.exceptions import BrokerUnavailable, Fenced
from django_sidekick.wire.outcome import Delivery, Outcome
from django_sidekick.worker.finished import Finished


def outcome(tag):
    return Outcome("done", Delivery(tag, "q", b"%d" % tag))


def finished(*tags):
    outcomes = Finished()
    outcomes.extend(outcome(tag) for tag in tags)
    return outcomes


def test_what_is_being_settled_is_known_and_not_settled_yet():
    outcomes = finished(1, 2)
    with outcomes.taken(0, ()) as taken:
        assert len(taken) == 2 and not outcomes
        assert outcomes.all_tags() == {1, 2}
        assert not outcomes.is_settled()
        outcomes.append(outcome(3))
        assert outcomes.all_tags() == {1, 2, 3}
    assert outcomes.all_tags() == {3}
    assert not outcomes.is_settled()
    with outcomes.taken(0, ()):
        pass
    assert outcomes.is_settled()


def test_a_fetch_that_settles_nothing_changes_nothing():
    outcomes = finished()
    with outcomes.taken(0, ()):
        assert outcomes.is_settled()


@pytest.mark.parametrize("error", [Fenced, BrokerUnavailable])
def test_what_could_not_be_settled_stands_there_again_in_its_order(error):
    outcomes = finished(1, 2, 3)
    with pytest.raises(error), outcomes.taken(0, ()):
        outcomes.append(outcome(4))
        raise error
    assert [one.delivery.tag for one in outcomes] == [1, 2, 3, 4]
    assert not outcomes.is_settled()
