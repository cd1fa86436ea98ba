"""Looking after the intake: late acknowledgements, and giving back what waits behind long jobs."""

from __future__ import annotations

import time

from django_sidekick.worker.intake import Intake
from django_sidekick.worker.threads import Ticker

TICK_S = 0.01
IDLE_S = 0.25
SETTLE_AFTER_S = 0.005
STUCK_TICKS = 2


class Keeper:
    """Tick every 10 ms while there is something to look after; doze while there is nothing.

    Finished jobs are settled 5 ms after they could have gone with a fetch. When all threads have been busy and
    nothing has finished for two ticks, the jobs that wait in the buffer go back for others to take.
    """

    def __init__(self, intake: Intake) -> None:
        self.ticker = Ticker("keeper", self.tick)
        self._intake = intake
        intake.on_ahead = self._look
        self._done_before = -1
        self._stuck = 0
        self._dozes = False

    def tick(self) -> float:
        """Look once. Return the seconds until the next look."""
        intake = self._intake
        if intake.finished and time.monotonic() - intake.settled_at > SETTLE_AFTER_S:
            intake.settle()
        if self._is_stuck():
            intake.give_back()
        self._dozes = True  # first: what comes between the two lines ends the doze
        self._dozes = intake.is_idle()
        return IDLE_S if self._dozes else TICK_S

    def _look(self) -> None:
        """Look at once. Else a batch that comes during a doze would wait behind long jobs until its end."""
        if self._dozes:
            self._dozes = False
            self.ticker.wake()

    def _is_stuck(self) -> bool:
        intake = self._intake
        done = intake.done
        if intake.has_unstarted and done == self._done_before and intake.has_no_free_thread:
            self._stuck += 1
        else:
            self._stuck = 0
        self._done_before = done
        if self._stuck < STUCK_TICKS:
            return False
        self._stuck = 0
        return True
