"""Looking after the intake: late acknowledgements, and giving back what waits behind long jobs."""

from __future__ import annotations

import time

from django_sidekick.worker.intake import Intake

TICK_S = 0.01
IDLE_S = 0.25
SETTLE_AFTER_S = 0.005
STUCK_TICKS = 2


class Keeper:
    """Tick every 10 ms while there is something to look after.

    Finished jobs are settled 5 ms after they could have gone with a fetch. When all threads have been busy and
    nothing has finished for two ticks, the jobs that wait in the buffer go back for others to take.
    """

    def __init__(self, intake: Intake) -> None:
        self._intake = intake
        self._done_before = -1
        self._stuck = 0

    def tick(self) -> float:
        """Look once. Return the seconds until the next look."""
        intake = self._intake
        if intake.finished and time.monotonic() - intake.settled_at > SETTLE_AFTER_S:
            intake.settle()
        if self._is_stuck():
            intake.give_back()
        return IDLE_S if intake.is_idle() else TICK_S

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

