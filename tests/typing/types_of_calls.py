"""Read by type checkers only: perform_later carries the signature of the class' own perform."""

from __future__ import annotations

from collections.abc import Awaitable
from datetime import UTC, datetime, timedelta
from typing import assert_type

from django_sidekick import BaseJob, EnqueuedJob, perform_all_later, push


class Typed(BaseJob):
    """A job with one positional and one keyword-only argument."""

    def perform(self, order_id: int, *, force: bool = False) -> str:
        """Return a text."""
        return str(order_id)


class Awaited(BaseJob):
    """The same as a coroutine."""

    async def perform(self, order_id: int, *, force: bool = False) -> str:
        """Return a text."""
        return str(order_id)


assert_type(Typed.perform_later(1), EnqueuedJob)
assert_type(Typed.perform_later(1, force=True), EnqueuedJob)
assert_type(Typed.perform_now(1), str)
assert_type(Typed.aperform_later(1), Awaitable[EnqueuedJob])
assert_type(Typed.set(queue="low", wait=timedelta(1)).perform_later(1), EnqueuedJob)
assert_type(Typed.set(retry=3).perform_now(1), str)
assert_type(perform_all_later([Typed.prepare(1), Typed.set(queue="x").prepare(2)]), list[EnqueuedJob])
assert_type(Typed.perform_bulk([(1,), (2,)], at=datetime(2100, 1, 1, tzinfo=UTC)), list[str])
assert_type(Typed.perform_bulk([[1]], spread=timedelta(hours=1)), list[str])
assert_type(push("HardJob", [1], queue="low", at=datetime(2100, 1, 1, tzinfo=UTC), trace="x"), EnqueuedJob)

assert_type(Awaited.perform_later(1, force=True), EnqueuedJob)
assert_type(Awaited.aperform_later(1), Awaitable[EnqueuedJob])
assert_type(Awaited.perform_now(1), str)
assert_type(Awaited.set(expires_in=5).perform_now(1), str)
assert_type(perform_all_later([Awaited.prepare(1), Awaited.set(jid="x").prepare(2, force=True)]), list[EnqueuedJob])
assert_type(Awaited.perform_bulk([(1,)]), list[str])


async def view() -> None:
    """Enqueue from a coroutine."""
    assert_type(await Typed.aperform_later(1), EnqueuedJob)
    assert_type(await Awaited.set(tags=["a"]).aperform_later(1, force=True), EnqueuedJob)
    assert_type(await Awaited().perform(1), str)


Typed.perform_later("1")  # type: ignore[arg-type]
Typed.perform_later()  # type: ignore[call-arg]
Typed.perform_later(1, forced=True)  # type: ignore[call-arg]
Typed.set(queue="low").perform_later("1")  # type: ignore[arg-type]
Typed.set(queue=5)  # type: ignore[arg-type]
Typed.set(enqueue="bogus")  # type: ignore[arg-type]
Typed.prepare(order="1")  # type: ignore[call-arg]
Typed.set(queue="low").prepare()  # type: ignore[call-arg]
Typed.perform_bulk([1])  # type: ignore[list-item]
Typed.perform_bulk([(1,)], spread=50)  # type: ignore[arg-type]
push("HardJob", 5)  # type: ignore[arg-type]
perform_all_later([Typed])  # type: ignore[list-item]
Awaited.perform_later("1")  # type: ignore[arg-type]
Awaited.perform_now("1")  # type: ignore[arg-type]
Awaited.perform_now()  # type: ignore[call-arg]
Awaited.set(queue="low").perform_now("1")  # type: ignore[call-overload]
Awaited.aperform_later(force="1")  # type: ignore[call-arg, arg-type]
