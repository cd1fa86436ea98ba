"""Read by type checkers only: perform_later carries the signature of the class' own perform."""

from __future__ import annotations

from collections.abc import Awaitable
from datetime import timedelta
from typing import assert_type

from django_sidekick import BaseJob, EnqueuedJob, perform_all_later


class Typed(BaseJob):
    """A job with one positional and one keyword-only argument."""

    def perform(self, order_id: int, *, force: bool = False) -> str:
        """Return a text."""
        return str(order_id)


assert_type(Typed.perform_later(1), EnqueuedJob)
assert_type(Typed.perform_later(1, force=True), EnqueuedJob)
assert_type(Typed.perform_now(1), str)
assert_type(Typed.aperform_later(1), Awaitable[EnqueuedJob])
assert_type(Typed.set(queue="low", wait=timedelta(1)).perform_later(1), EnqueuedJob)
assert_type(Typed.set(retry=3).perform_now(1), str)
assert_type(perform_all_later([Typed.prepare(1), Typed.set(queue="x").prepare(2)]), list[EnqueuedJob])

Typed.perform_later("1")  # type: ignore[arg-type]
Typed.perform_later()  # type: ignore[call-arg]
Typed.perform_later(1, forced=True)  # type: ignore[call-arg]
Typed.set(queue="low").perform_later("1")  # type: ignore[arg-type]
Typed.set(queue=5)  # type: ignore[arg-type]
Typed.prepare(order="1")  # type: ignore[call-arg]
