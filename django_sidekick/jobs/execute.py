"""The way in: a delivery becomes a job, runs, and ends as an outcome. No Redis here."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Coroutine, Sequence
from functools import cache
from typing import Any

from asgiref.sync import sync_to_async

from django_sidekick.conf import Settings, get_settings
from django_sidekick.exceptions import MalformedPayload, Shutdown
from django_sidekick.feature import Feature, Layer, load_features
from django_sidekick.jobs.cancelling import forget_cancel, in_full, is_shutdown
from django_sidekick.jobs.connections import DatabaseConnections
from django_sidekick.jobs.current import current_job
from django_sidekick.jobs.failures import Failures
from django_sidekick.jobs.perform import aperform, perform
from django_sidekick.jobs.registry import JOBS, Stranger, job_of, refuse
from django_sidekick.middleware import Handler, can_await, compose, load_layers
from django_sidekick.wire import codec
from django_sidekick.wire.outcome import Awaiting, Delivery, FollowUp, Outcome, check_follow_up
from django_sidekick.wire.payload import new_jid, parse, text_of

logger = logging.getLogger("sidekick")
_new = tuple.__new__
"""Makes an Outcome in a third of the time that its own __new__ takes: once a job."""

Execute = Callable[[Delivery, float], Outcome | Awaiting]
"""Takes a delivery and when it began, time.perf_counter()."""

Read = Callable[[Delivery], Awaiting | None]
"""Takes a delivery that nobody has decoded."""

Finish = Callable[[Awaiting, float], Coroutine[Any, Any, Outcome]]
"""Takes what execute() left or read() has made, and when it began to run, time.perf_counter()."""


class Executor:
    """Runs deliveries. Composed once; `layers` go outside of all others.

    Raise ConfigurationError for a path that cannot be imported.
    """

    def __init__(self, settings: Settings, *, features: Sequence[Feature] = (), layers: Sequence[Layer] = ()) -> None:
        self._chain_of_strangers = compose(layers, refuse)
        layers = [*layers, *_layers(settings, features)]
        self._chain = compose(layers, perform)
        self._async_chain = compose(layers, aperform) if can_await(layers) else None
        self._failures = Failures(settings)
        self._connections = DatabaseConnections(settings.worker_conn_max_age_s)
        self._follow_ups = [feature.follow_ups for feature in features if feature.follow_ups]

    def __call__(self, delivery: Delivery) -> Outcome:
        """Run one delivery that begins now, a coroutine to its end."""
        outcome = self.build_execute(awaits=False)(delivery, time.perf_counter())
        current_job.set(None)
        if isinstance(outcome, Awaiting):
            raise TypeError("asked to await nothing")
        return outcome

    def build_execute(self, *, awaits: bool) -> Execute:
        """Return the function that runs deliveries; with `awaits`, it returns coroutine jobs for the event loop.

        They run on the thread's own loop instead if one of the layers can only stand around a plain function.
        """
        run = self._build_straight(awaits=awaits and self._async_chain is not None)
        if not self._follow_ups:
            return run

        def run_and_follow(delivery: Delivery, began: float) -> Outcome | Awaiting:
            outcome = run(delivery, began)
            return outcome if isinstance(outcome, Awaiting) else self._with_follow_ups(outcome)

        return run_and_follow

    def build_read(self) -> Read:
        """Return the function that makes a coroutine job of a delivery; None, and no error, of anything else."""
        loads, classes = codec.loads, JOBS

        def read(delivery: Delivery) -> Awaiting | None:
            try:
                payload = loads(delivery[2])
                job = classes[payload["class"]]()
                job.payload = payload
                if type(payload["args"]) is list and job.awaits:
                    awaiting: Awaiting = _new(Awaiting, (delivery, payload, job))
                    return awaiting
            except BaseException:  # execute() tells which of the reasons it is
                return None
            return None

        return read

    def build_finish(self) -> Finish:
        """Return the coroutine function that runs what is to be awaited. It raises nothing.

        Django's rules for coroutines hold: its synchronous parts raise SynchronousOnlyOperation there. The hooks
        after a failure run in Django's thread for synchronous code, and may use them.
        """
        chain, connections, enter = self._async_chain, self._connections, current_job.set
        now, clock, has_follow_ups = time.time, time.perf_counter, bool(self._follow_ups)
        task_now = asyncio.current_task

        async def finish(awaiting: Awaiting, began: float) -> Outcome:
            delivery, payload, job = awaiting
            started_at_s = now()
            enter(job)
            try:
                if connections.opened_any:
                    await connections.acheck_before()
                await chain(job)  # type: ignore[misc]
                if task_now().cancelling():  # type: ignore[union-attr] # a job runs in a task
                    await forget_cancel()
                outcome: Outcome = _new(
                    Outcome,
                    ("done", delivery, payload, started_at_s, clock() - began, None, None, 0.0, ()),
                )
            except BaseException as error:  # whatever it is, it is this job's failure
                outcome = await self._failed_on_loop(awaiting, error)
                outcome = outcome._replace(started_at_s=started_at_s, duration_s=clock() - began)
            if connections.opened_any:
                # A cancel that comes now is meant for the job, which has ended.
                await in_full(connections.acheck_after())
            return self._with_follow_ups(outcome) if has_follow_ups else outcome

        return finish

    async def _failed_on_loop(self, awaiting: Awaiting, error: BaseException) -> Outcome:
        if is_shutdown(error):
            return Outcome("released", awaiting.delivery)  # it was pushed back before it was cancelled
        outcome: Outcome = await in_full(sync_to_async(self._failed)(*awaiting, error))
        return outcome

    def _build_straight(self, *, awaits: bool) -> Execute:
        """Return the function of the hot path: everything it needs is a local name."""
        chain, connections, classes = self._chain, self._connections, JOBS
        now, clock, loads, enter = time.time, time.perf_counter, codec.loads, current_job.set

        def execute(delivery: Delivery, began: float) -> Outcome | Awaiting:
            """Raise nothing but Shutdown: whatever a payload, a layer, a job or a hook does is an outcome.

            `current_job` stays the job until the next one, or until the caller does something else.
            An error of any kind, SystemExit and KeyboardInterrupt included, is the job's failure.
            """
            started_at_s = now()
            try:
                payload = loads(delivery[2])
                job = classes[payload["class"]]()
                job.payload = payload
                if type(payload["args"]) is not list:
                    raise TypeError
            except BaseException:  # which of the reasons it is costs more to tell
                return self._run_odd(delivery, began, started_at_s)
            if awaits and job.awaits:
                awaiting: Awaiting = _new(Awaiting, (delivery, payload, job))
                return awaiting
            enter(job)
            try:
                if connections.opened_any:
                    connections.check_before()
                chain(job)
                outcome: Outcome = _new(
                    Outcome,
                    ("done", delivery, payload, started_at_s, clock() - began, None, None, 0.0, ()),
                )
            except Shutdown:
                raise
            except BaseException as error:  # whatever it is, it is this job's failure
                outcome = self._failed(delivery, payload, job, error)
                outcome = outcome._replace(started_at_s=started_at_s, duration_s=clock() - began)
            if connections.opened_any:
                connections.check_after()
            return outcome

        return execute

    def _run_odd(self, delivery: Delivery, began: float, started_at_s: float) -> Outcome:
        """Run what the straight way could not: wrapped by Active Job, of an unknown class, or no job at all."""
        try:
            payload = parse(delivery.raw)
        except MalformedPayload as error:
            return self._failures.malformed(delivery, error, started_at_s)
        job, chain = self._resolve(payload)
        current_job.set(job)
        try:
            self._connections.check_before()
            chain(job)
            outcome = Outcome("done", delivery, payload)
        except Shutdown:
            raise
        except BaseException as error:  # as above
            outcome = self._failed(delivery, payload, None if type(job) is Stranger else job, error)
        finally:
            self._connections.check_after()
        return outcome._replace(started_at_s=started_at_s, duration_s=time.perf_counter() - began)

    def _resolve(self, payload: dict[str, Any]) -> tuple[Any, Handler]:
        """Return the job and the layers around it; one that cannot be made fails in sight of the job log alone."""
        try:
            return job_of(payload), self._chain
        except Shutdown:
            raise
        except BaseException as error:  # as above
            return Stranger(payload, error), self._chain_of_strangers

    def _failed(self, delivery: Delivery, payload: dict[str, Any], job: Any, error: BaseException) -> Outcome:
        return self._failures.outcome(delivery, payload, job, error)

    def _with_follow_ups(self, outcome: Outcome) -> Outcome:
        """Add what the features want done with the acknowledgement; one that goes wrong costs no job its outcome."""
        commands: list[FollowUp] = []
        for follow in self._follow_ups:
            try:
                wanted = list(follow(outcome))
                for command in wanted:
                    check_follow_up(command)
                commands += wanted
            except Exception:
                logger.exception("What %r wants done after a job is left out.", follow)
        return outcome._replace(follow_ups=tuple(commands)) if commands else outcome


def perform_now(job_class: type[Any], payload: dict[str, Any]) -> Any:
    """Run a job here through the server's layers, its arguments through their JSON form. Errors pass."""
    settings = get_settings()
    payload = codec.loads(text_of({**payload, "jid": payload.get("jid") or new_jid()}))
    job = job_class()
    job.payload = payload
    return _inline_chain(settings)(job)


def _layers(settings: Settings, features: Sequence[Feature]) -> list[Layer]:
    layers = load_layers(settings.middleware, "MIDDLEWARE")
    for feature in features:
        layers += feature.middleware
    return layers


@cache
def _inline_chain(settings: Settings) -> Handler:
    """Without the worker's care for connections: here they are the caller's."""
    return compose(_layers(settings, load_features(settings)), perform)
