"""One line when a job starts, one when it is done or has failed, with the traceback: written by a thread.

About 1.2 us a line.
"""

from __future__ import annotations

import json
import sys
import textwrap
import threading
import time
from asyncio import CancelledError
from collections import deque
from collections.abc import Callable
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, TextIO

from asgiref.sync import iscoroutinefunction
from django.utils.decorators import sync_and_async_middleware

from django_sidekick.exceptions import Discard, Retry, Shutdown, UnknownJob
from django_sidekick.wire.payload import as_text, error_backtrace, error_message
from django_sidekick.wire.ruby import job_name

WRITE_EVERY_S = 0.02
LONGEST_BACKLOG = 100_000

Run = tuple[float, int, Any, Any, Any]
"""When it began, epoch seconds; thread, class, jid, queue."""

Line = tuple[Run, float, str, tuple[str, str] | None]
"""The run, when, what (start, done, fail), and of an error its text and its traceback."""

OF_NO_FAULT = (Retry, Discard, Shutdown, UnknownJob, CancelledError)
"""What is raised on purpose, or says all in its text: no traceback."""


class JobLog:
    """A server middleware that notes each run, and the writer of the notes.

    Notes are tuples in a deque; `flush` formats them in one block. Of unwritten lines the newest 100,000 are
    kept, so that a full disk or a blocked terminal cannot fill memory.
    """

    def __init__(self, log_format: str = "text", stream: TextIO | None = None) -> None:
        self._lines: deque[Line] = deque(maxlen=LONGEST_BACKLOG)
        self._note = self._lines.append
        self._stream = stream
        self._format = _json_line if log_format == "json" else _text_line
        self._writing = threading.Lock()

    @sync_and_async_middleware
    def middleware(self, call_next: Callable[[Any], Any]) -> Callable[[Any], Any]:
        """Note start and end around the rest of the chain. Errors pass through."""
        begin, end = self._note_start, self._note_end

        def logged(job: Any) -> Any:
            run = begin(job)
            try:
                result = call_next(job)
            except BaseException as error:
                end(run, error)
                raise
            end(run)
            return result

        async def alogged(job: Any) -> Any:
            run = begin(job)
            try:
                result = await call_next(job)
            except BaseException as error:
                end(run, error)
                raise
            end(run)
            return result

        return alogged if iscoroutinefunction(call_next) else logged

    def _note_start(self, job: Any) -> Run:
        payload = job.payload
        began = time.time()
        name = job_name(payload) if "wrapped" in payload else payload["class"]
        run = began, threading.get_native_id(), name, payload.get("jid"), payload.get("queue")
        self._note((run, began, "start", None))
        return run

    def _note_end(self, run: Run, error: BaseException | None = None) -> None:
        if error is None:
            self._note((run, time.time(), "done", None))
        else:
            text = f"{type(error).__name__}: {error_message(error)}"
            trace = "" if isinstance(error, OF_NO_FAULT) else error_backtrace(error)
            self._note((run, time.time(), "fail", (text, trace)))

    def turn(self) -> float:
        """Write what has been noted. Return the seconds until the next time."""
        self.flush()
        return WRITE_EVERY_S

    def flush(self) -> None:
        """Write all notes now, in the order they were made."""
        with self._writing:
            count = len(self._lines)
            if not count:
                return
            lines = [self._written(self._lines.popleft()) for _ in range(count)]
            stream = self._stream or sys.stderr
            stream.write("\n".join(lines) + "\n")
            stream.flush()

    def _written(self, line: Line) -> str:
        try:
            return self._format(line)
        # A jid, class or queue that is too long a number, or too deep, to be printed.
        except (ValueError, RecursionError):
            (began_s, thread, *names), at_s, what, error = line
            name, jid, queue = map(as_text, names)
            return self._format(((began_s, thread, name, jid, queue), at_s, what, error))


def stamp(at_s: float) -> str:
    """Return epoch seconds as UTC with milliseconds: 2030-01-31T09:15:00.123Z."""
    second = int(at_s)
    return f"{_second(second)}.{int((at_s - second) * 1000):03d}Z"


@lru_cache(maxsize=2)
def _second(at_s: int) -> str:
    return datetime.fromtimestamp(at_s, UTC).isoformat()[:-6]


def _text_line(line: Line) -> str:
    (began_s, thread, name, jid, queue), at_s, what, error = line
    took = "" if what == "start" else f" elapsed={at_s - began_s:.3f}"
    text = f"{stamp(at_s)} tid={thread} class={name} jid={jid} queue={queue}{took}: {what}"
    if error:
        text += f" ({_one_line(error[0])})"
    text = text if text.isprintable() else _one_line(text)  # a line break in a jid would forge a line
    return f"{text}\n{_indented(error[1])}" if error and error[1] else text


def _json_line(line: Line) -> str:
    (began_s, thread, name, jid, queue), at_s, what, error = line
    fields: dict[str, Any] = {
        "ts": stamp(at_s), "level": "WARNING" if error else "INFO", "logger": "sidekick", "message": what,
        "job": str(name), "jid": str(jid), "queue": str(queue), "tid": thread,
    }  # fmt: skip
    if what != "start":
        fields["duration_s"] = round(at_s - began_s, 6)
    if error:
        fields["error"], fields["exc"] = error
    return json.dumps(fields)


def _one_line(text: str) -> str:
    return " ".join(text.split())[:500]


def _indented(trace: str) -> str:
    """Each line begins with blanks, those of an error's text too: none can be taken for one of ours."""
    return textwrap.indent("\n".join(trace.splitlines()), "  ", lambda _: True)
