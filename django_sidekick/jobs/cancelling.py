"""What a cancelled task means: the process' end, or something that a coroutine job has asked for itself."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from contextlib import suppress
from typing import TypeVar

from django_sidekick.exceptions import Shutdown

T = TypeVar("T")


def is_shutdown(error: BaseException) -> bool:
    """Tell whether the process' end has cancelled this, and not the job itself."""
    return isinstance(error, asyncio.CancelledError) and any(isinstance(a, Shutdown) for a in error.args)


async def forget_cancel() -> None:
    """Take back what a job has asked of its own task, and has not waited for."""
    task = asyncio.current_task()
    while task and task.cancelling():
        with suppress(asyncio.CancelledError):
            await asyncio.sleep(0)
        task.uncancel()


async def in_full(awaitable: Awaitable[T]) -> T:
    """Await to the end, whoever cancels meanwhile: it is meant for the job, which has ended."""
    future = asyncio.ensure_future(awaitable)
    while not future.done():
        with suppress(asyncio.CancelledError):
            await asyncio.shield(future)
    return future.result()
