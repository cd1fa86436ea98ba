"""BaseJob: the class that users write; and enqueuing many, or without a class."""

from __future__ import annotations

import inspect
import logging
import time
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, ClassVar

from django_sidekick.exceptions import ArgumentError
from django_sidekick.jobs import registry
from django_sidekick.jobs.bulk import enqueue_bulk
from django_sidekick.jobs.calls import (
    APerformLater,
    PerformLater,
    PerformNow,
    Prepare,
    SetOptions,
    with_defaults,
)
from django_sidekick.jobs.enqueue import enqueue
from django_sidekick.jobs.handle import EnqueuedJob
from django_sidekick.jobs.moments import moment_s, moments_s
from django_sidekick.jobs.options import WRITTEN_FIELDS, field_of, mode_of
from django_sidekick.jobs.request import Request
from django_sidekick.wire import arguments
from django_sidekick.wire.payload import as_text, read_time_s


class BaseJob:
    """Derive from this and write `perform`. A class without one is abstract and cannot be enqueued.

    Class attributes are the options of every run; set() changes them for one call. A run that raises is
    retried, 25 times over about 21 days, and then lies in the dead set.
    """

    queue_as: ClassVar[Any] = "default"
    """The queue: its name, or a callable that returns it, over the arguments of perform."""
    retry: ClassVar[bool | int] = True
    """How often a failed run is retried: True: MAX_RETRIES times; 0: it is dead at once; False: dropped."""
    retry_for: ClassVar[timedelta | int | None] = None
    """How long after its first failure a job is retried, in seconds if it is a number; it alone counts then."""
    retry_queue: ClassVar[str | None] = None
    """The queue of retries, if it is another."""
    dead: ClassVar[bool] = True
    """Whether a job without a retry left goes to the dead set."""
    tags: ClassVar[Sequence[str]] = ()
    """Words that the pages show and search."""
    backtrace: ClassVar[bool | int] = False
    """Whether the payload carries the traceback of the last failure; a number: so many lines of it."""
    class_name: ClassVar[str | None] = None
    """The name on the wire, if it is not the class' own path: that of a class in Ruby."""
    kwargs: ClassVar[bool] = False
    """Whether perform may have keyword-only arguments although its name is shared with Ruby."""
    using: ClassVar[str] = "default"
    """The database whose COMMIT perform_later waits for."""
    history: ClassVar[str | None] = None
    """What the mirror keeps of this class: "finished", "full", "failures" or "off". None: as HISTORY says."""
    redact: ClassVar[Sequence[str]] = ()
    """Names of parameters, and of keys inside of arguments, whose values the mirror does not keep."""
    name: ClassVar[str] = ""
    """The name on the wire; it is set by itself."""
    awaits: ClassVar[bool] = False
    """Whether `perform` is a coroutine function: such jobs run on the process' event loop."""

    payload: dict[str, Any]

    set = SetOptions()
    prepare = Prepare()
    perform_later = PerformLater()
    aperform_later = APerformLater()
    perform_now = PerformNow()

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        cls.name = cls.__dict__.get("class_name") or f"{cls.__module__}.{cls.__qualname__}"
        cls.awaits = inspect.iscoroutinefunction(getattr(cls, "perform", None))
        if callable(getattr(cls, "perform", None)):
            registry.register(cls)

    @property
    def jid(self) -> str:
        """The job's id: 24 hex digits, unless somebody has pushed another."""
        return as_text(self.payload.get("jid", ""))

    @property
    def attempt(self) -> int:
        """1 in the first run, 2 after the first failure, and so on."""
        count = self.payload.get("retry_count")
        return count + 2 if isinstance(count, int) else 1

    @property
    def enqueued_at(self) -> float | None:
        """When the job came into its queue, epoch seconds."""
        return read_time_s(self.payload.get("enqueued_at"))

    @property
    def log(self) -> logging.Logger:
        """The logger of the job's class; its records carry the jid."""
        return logging.getLogger(f"sidekick.job.{type(self).__qualname__}")

    def retry_in(self, count: int, error: BaseException) -> timedelta | float | str | None:
        """Return how long to wait after failure `count`, from 0: seconds or a timedelta; "kill", "discard", None for the rule."""
        return None

    def retries_exhausted(self, error: BaseException) -> str | None:
        """Be told that no retry is left; return "discard" to keep the job out of the dead set."""
        return None

    def after_death(self, error: BaseException) -> None:
        """Be told that the job is dead or was dropped after an error."""

    @classmethod
    def perform_bulk(
        cls,
        calls: Iterable[Sequence[Any]],
        *,
        at: datetime | Sequence[datetime] | None = None,
        spread: timedelta | None = None,
    ) -> list[str]:
        """Enqueue one run for each sequence of positional arguments; return their jids in that order.

        The fast way for many: slices of 1,000, one round trip each, at once (as in perform_later, after the
        COMMIT of an open transaction). `at`: one time for all or one for each; `spread`: a random time for
        each within so long from now. Arguments are all checked before the first is pushed.
        """
        listed = [
            call if type(call) is tuple else tuple(_listed(call, f"calls[{index}]")) for index, call in enumerate(calls)
        ]
        return enqueue_bulk(with_defaults(cls), listed, moments_s(at, spread, len(listed)))


def perform_all_later(requests: Iterable[Request]) -> list[EnqueuedJob]:
    """Enqueue many, of any classes, in slices of 1,000; return their handles in the order given.

    One bad argument: nothing is pushed. Otherwise as perform_later.
    """
    return enqueue(list(requests))


def push(
    class_name: str,
    args: Sequence[Any] = (),
    *,
    queue: str = "default",
    jid: str | None = None,
    at: datetime | None = None,
    **fields: Any,
) -> EnqueuedJob:
    """Enqueue a job of which there is no class here, for example for a Ruby worker; other keywords are fields.

    `enqueue`, `using` and the options of a class are read as set() reads them; `kwargs` are keyword arguments.
    Same way as perform_later: middleware, COMMIT, errors.
    """
    if not isinstance(class_name, str) or not class_name:
        raise ArgumentError("push() needs the name of a class.", path="class_name", value=class_name)
    if unknown := {"wait", "wait_until", "fields", *WRITTEN_FIELDS} & set(fields) - {"kwargs"}:
        raise TypeError(
            f"push() does not take {', '.join(sorted(unknown))}: `at` is a time, other keywords are fields of your own."
        )
    mode, using = mode_of(fields.pop("enqueue", None)), fields.pop("using", "default")
    positional, names = _listed(args, "args"), _named(fields.pop("kwargs", None))
    payload: dict[str, Any] = {"retry": True, "queue": field_of("queue", queue)}
    payload |= {name: arguments.dump_value(field_of(name, value), name) for name, value in fields.items()}
    payload["args"], named, encoded = arguments.dump_call(positional, names)
    payload["class"] = class_name
    if named:
        payload["kwargs"] = named
    if jid is not None:
        payload["jid"] = field_of("jid", jid)
    if encoded:
        payload["sk_encoded"] = True
    at_s = moment_s(None, at, time.time(), "at")
    return enqueue([Request.of(payload, at_s, using, mode)])[0]


def _listed(value: Any, path: str) -> Sequence[Any]:
    """Refuse texts, dicts and iterators: their letters, keys or what is left of them are no arguments."""
    if isinstance(value, list | tuple):
        return value
    if isinstance(value, Sequence) and not isinstance(value, str | bytes | bytearray | memoryview):
        return value
    raise ArgumentError(
        f"{path} must be a list or a tuple of arguments, not {type(value).__name__}.", path=path, value=value
    )


def _named(value: Any) -> Mapping[str, Any]:
    if value is None:
        return {}
    if isinstance(value, Mapping) and all(isinstance(name, str) for name in value):
        return value
    raise ArgumentError(f"kwargs must be a dict of names to values, not {value!r:.100}.", path="kwargs", value=value)
