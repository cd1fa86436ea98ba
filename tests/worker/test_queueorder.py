from __future__ import annotations

from collections import Counter

import pytest

from django_sidekick.worker.queueorder import mode, next_order_of


def test_strict_queues_are_asked_as_written():
    next_order = next_order_of([("a", 0), ("b", 0), ("c", 0)])

    assert {tuple(next_order()) for _ in range(50)} == {(0, 1, 2)}


def test_weights_say_how_often_a_queue_is_first():
    next_order = next_order_of([("a", 3), ("b", 1)])
    first = Counter(next_order()[0] for _ in range(4000))

    assert 2.5 < first[0] / first[1] < 3.6
    assert all(sorted(next_order()) == [0, 1] for _ in range(50))


@pytest.mark.parametrize(
    ("queues", "word"), [([("a", 0)], "strict"), ([("a", 1), ("b", 1)], "random"), ([("a", 2), ("b", 1)], "weighted")]
)
def test_sidekiqs_words(queues, word):
    assert mode(queues) == word
