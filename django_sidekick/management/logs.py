"""What a worker writes to stderr: text or JSON lines, the same form whoever speaks."""

from __future__ import annotations

import json
import logging
import sys
import threading
from collections.abc import Sequence
from functools import cache
from typing import Any

from django_sidekick.conf import Settings
from django_sidekick.jobs.current import JobContext
from django_sidekick.worker.joblog import stamp

logger = logging.getLogger("sidekick")


class TextFormatter(logging.Formatter):
    """`2030-01-31T09:15:00.123Z LEVEL logger: message`, UTC; inside a job with its class and jid."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)s %(name)s%(inside)s: %(message)s")

    def format(self, record: logging.LogRecord) -> str:
        """Add where the record was made."""
        jid, job = getattr(record, "jid", ""), getattr(record, "job", "")
        record.inside = f" class={job} jid={jid}" if jid or job else ""
        return super().format(record)

    def formatTime(self, record: logging.LogRecord, datefmt: str | None = None) -> str:  # noqa: N802 logging's name
        """Return the time as the job log writes it."""
        return stamp(record.created)


class JsonFormatter(logging.Formatter):
    """One JSON object a record: ts, level, logger, message; job and jid inside a job; exc, the traceback's text."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        fields: dict[str, Any] = {
            "ts": stamp(record.created),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
        }
        fields |= {name: said for name in ("job", "jid") if (said := getattr(record, name, ""))}
        if record.exc_info:
            fields["exc"] = self.formatException(record.exc_info)
        elif record.exc_text:
            fields["exc"] = record.exc_text
        return json.dumps(fields)


class LineStream:
    """A text stream each of whose writes becomes one record: for what Django prints at a command's start."""

    def __init__(self, level: int) -> None:
        self._level = level

    def write(self, text: str) -> None:
        """Log what is not blank."""
        if text.strip():
            logger.log(self._level, "%s", text.strip())

    def flush(self) -> None:
        """Nothing is held back."""


@cache
def set_up(settings: Settings, *, verbose: bool = False) -> None:
    """Give every record its job's jid; show records where the project has not said what to do with them.

    `verbose`: records of level DEBUG too, the jobs' own (`self.log`) among them.

    With LOG_FORMAT "json" all that a process says is JSON: Python's warnings too, and Django's own handlers that
    have no format. Once a process; what it forks inherits it.
    """
    JobContext().install()
    is_json = settings.log_format == "json"
    formatter = JsonFormatter() if is_json else TextFormatter()
    if is_json:
        _speak_json(formatter)
    _log_uncaught_errors()
    logging.lastResort = _handler(formatter, logging.WARNING)  # for loggers that nobody has set up
    if verbose:
        logger.setLevel(logging.DEBUG)
    if not logger.handlers and (settings.log_jobs or is_json):
        logger.addHandler(_handler(formatter))
        logger.setLevel(logging.DEBUG if verbose else logging.INFO)
        logger.propagate = False


def banner(settings: Settings, lines: Sequence[str]) -> None:
    """Say what is started."""
    if settings.log_format == "json":
        for line in lines:
            logger.info("%s", line)
        return
    sys.stderr.write("\n".join(lines) + "\n")
    sys.stderr.flush()


def _handler(formatter: logging.Formatter, level: int = logging.NOTSET) -> logging.Handler:
    handler = logging.StreamHandler(sys.stderr)
    handler.setLevel(level)
    handler.setFormatter(formatter)
    return handler


def _speak_json(formatter: logging.Formatter) -> None:
    logging.captureWarnings(True)
    if not (warned := logging.getLogger("py.warnings")).hasHandlers():
        warned.addHandler(_handler(formatter))  # it would get one that drops all
    for others in (logging.getLogger(), logging.getLogger("django")):
        for handler in others.handlers:
            if isinstance(handler, logging.StreamHandler) and handler.formatter is None:
                handler.setFormatter(formatter)


def _log_uncaught_errors() -> None:
    """Python would write them bit by bit, between the lines of others. A hook that somebody has set stays."""
    if sys.excepthook is sys.__excepthook__:
        sys.excepthook = lambda *error: logger.critical("The process ends by an error.", exc_info=error)
    if threading.excepthook is threading.__excepthook__:
        threading.excepthook = _log_thread_error


def _log_thread_error(hook: threading.ExceptHookArgs) -> None:
    if hook.exc_value is not None:
        error = (hook.exc_type, hook.exc_value, hook.exc_traceback)
        logger.critical("A thread ends by an error.", exc_info=error)
