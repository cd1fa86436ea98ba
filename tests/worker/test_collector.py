from __future__ import annotations

import gc

import pytest

from django_sidekick.worker import collector


@pytest.fixture(autouse=True)
def as_it_was():
    before = gc.get_threshold()
    yield
    gc.set_threshold(*before)
    gc.unfreeze()


def test_young_objects_are_looked_through_less_often():
    gc.set_threshold(700, 10, 10)

    collector.relax()

    assert gc.get_threshold() == (10_000, 10, 10)


@pytest.mark.parametrize("own", [0, 50_000])
def test_what_the_project_has_chosen_stays(own):
    gc.set_threshold(own, 5, 5)

    collector.relax()

    assert gc.get_threshold() == (own, 5, 5)


def test_what_is_loaded_is_frozen():
    gc.unfreeze()

    collector.freeze()

    assert gc.get_freeze_count() > 10_000
