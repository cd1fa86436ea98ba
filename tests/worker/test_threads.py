"""Threads that do something now and then: they end when they are told to."""

from __future__ import annotations

import threading

from django_sidekick.worker.threads import Ticker


def test_a_stop_that_comes_between_two_turns_is_not_slept_through():
    class Late(threading.Event):
        """At the second turn the stop comes right before the sign of it is lowered."""

        def clear(self):
            if turns:
                ticker.stop()
            super().clear()

    turns = []
    ticker = Ticker("test", lambda: turns.append("turn") or (0.0 if len(turns) == 1 else 60.0))
    ticker._wake = Late()

    ticker.start()
    ticker.join(15)

    assert not ticker._thread.is_alive()
    assert turns == ["turn"]
