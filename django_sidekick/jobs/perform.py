"""Innermost of all layers: the job does its work, in a thread or on an event loop."""

from __future__ import annotations

import asyncio
import contextvars
import threading
from collections.abc import Coroutine, Sequence
from types import CoroutineType
from typing import Any

from asgiref.sync import markcoroutinefunction, sync_to_async

from django_sidekick.wire import arguments, ruby

_runners = threading.local()


def perform(job: Any) -> Any:
    """Call perform with the payload's arguments; run a coroutine to its end."""
    payload = job.payload
    if "kwargs" in payload or "sk_encoded" in payload or payload["class"] in ruby.WRAPPERS:
        args, kwargs = _arguments(payload)
        result = job.perform(*args, **kwargs)
    else:
        result = job.perform(*payload["args"])
    if type(result) is CoroutineType:
        return _run_coroutine(result)
    return result


@markcoroutinefunction
def aperform(job: Any) -> Coroutine[Any, Any, Any]:
    """Return the coroutine that does the work of a coroutine job."""
    payload = job.payload
    if "kwargs" in payload or "sk_encoded" in payload or payload["class"] in ruby.WRAPPERS:
        return _perform_with_more(job, payload)
    coroutine: Coroutine[Any, Any, Any] = job.perform(*payload["args"])
    return coroutine


async def _perform_with_more(job: Any, payload: dict[str, Any]) -> Any:
    """Model instances among the arguments are read from the database, in Django's thread for that."""
    args, kwargs = await sync_to_async(_arguments)(payload)
    return await job.perform(*args, **kwargs)


def _run_coroutine(coroutine: CoroutineType[Any, Any, Any]) -> Any:
    """Run on an event loop that this thread keeps; each job in a context of its own."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        pass
    else:
        coroutine.close()
        raise RuntimeError(
            "perform_now() of an async job cannot wait inside a running event loop: "
            "`await sync_to_async(Job.perform_now)(…)` runs it with all layers, `await Job().perform(…)` without."
        )
    runner = getattr(_runners, "runner", None)
    if runner is None:
        runner = _runners.runner = asyncio.Runner()
    return runner.run(coroutine, context=contextvars.copy_context())


def _arguments(payload: dict[str, Any]) -> tuple[Sequence[Any], dict[str, Any]]:
    if payload["class"] in ruby.WRAPPERS:
        _, args, kwargs = ruby.unwrap(payload)
        return args, kwargs
    args, kwargs = payload["args"], payload.get("kwargs") or {}
    if payload.get("sk_encoded"):
        return arguments.load(args), arguments.load(kwargs)
    return args, kwargs
