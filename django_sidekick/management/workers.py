"""Putting a worker together: settings, sidekiq.yml and command line into one process that runs."""

from __future__ import annotations

import logging
import os
import signal
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import django
from django.conf import settings as django_settings

from django_sidekick import checks
from django_sidekick.broker.backlog import Backlog
from django_sidekick.broker.patience import Patience
from django_sidekick.conf import Settings, get_settings
from django_sidekick.exceptions import ConfigurationError
from django_sidekick.feature import load_features
from django_sidekick.jobs.execute import build_executor
from django_sidekick.jobs.registry import JOBS
from django_sidekick.middleware import JobContext
from django_sidekick.worker import child, configfile, turns
from django_sidekick.worker.drain import Drain
from django_sidekick.worker.joblog import JobLog
from django_sidekick.worker.options import WorkerOptions

logger = logging.getLogger("sidekick")

PROCESSES_REFUSED = (
    "runworker -p {count}: several processes need the supervisor, which this version does not have yet. "
    "Use -p 0 (the default) and start runworker as often as you want processes."
)


@dataclass(frozen=True, slots=True)
class Arguments:
    """The command line; None where it says nothing."""

    queues: tuple[str, ...] = ()
    concurrency: int | None = None
    processes: int | None = None
    timeout_s: float | None = None
    config_file: str | None = None
    environment: str = ""
    tag: str = ""
    drain: bool = False


def run_worker(arguments: Arguments) -> None:
    """Run one worker process in this one until it is told to stop or, with drain, has nothing left to do.

    Raise ConfigurationError before anything has begun. Ends the interpreter hard if a job outlives the
    shutdown time-out: it was pushed back before.
    """
    options = worker_options(arguments)
    job_log = JobLog(options.settings.log_format) if options.settings.log_jobs else None
    _set_up_logging(options.settings)
    features = load_features(options.settings)
    layers = (job_log.middleware,) if job_log else ()
    execute = build_executor(options.settings, features=features, layers=layers)
    process = child.Child(options, execute, job_log)
    _handle_signals(process)
    child.enable_fatal_dumps()
    _print_banner(options, process.ownership.patience)
    _warn_of_the_server()
    process.run(_done_when(options, process))
    _leave(process)


def worker_options(arguments: Arguments) -> WorkerOptions:
    """Return the options in force: the command line wins over sidekiq.yml, which wins over the settings."""
    settings = get_settings()
    if arguments.processes:
        raise ConfigurationError(PROCESSES_REFUSED.format(count=arguments.processes))
    path, document = _config_file(arguments)
    if "max_retries" in document:
        settings = replace(settings, max_retries=document["max_retries"])
    queues = configfile.parse_queues(list(arguments.queues), "runworker -q")
    concurrency = _first(arguments.concurrency, document.get("concurrency"), settings.concurrency)
    timeout_s = _first(
        arguments.timeout_s, document.get("timeout"), settings.shutdown_timeout_s
    )
    if concurrency < 1 or timeout_s < 0:
        raise ConfigurationError("runworker: -c must be at least 1 and -t must not be negative.")
    return WorkerOptions(
        settings=settings,
        queues=queues or document.get("queues") or settings.queues,
        concurrency=concurrency,
        shutdown_timeout_s=float(timeout_s),
        tag=arguments.tag or str(document.get("tag") or _base_dir().name),
        labels=document.get("labels", ()),
        drain=arguments.drain,
        config_file=path,
    )


def _config_file(arguments: Arguments) -> tuple[Path | None, dict[str, Any]]:
    path = Path(arguments.config_file) if arguments.config_file else configfile.find(_base_dir())
    if path is None:
        return None, {}
    environment = arguments.environment or os.environ.get("DJANGO_ENV", "")
    return path, configfile.read(path, environment)


def _base_dir() -> Path:
    return Path(getattr(django_settings, "BASE_DIR", None) or Path.cwd())


def _first(*values: Any) -> Any:
    return next(value for value in values if value is not None)


def _done_when(options: WorkerOptions, process: child.Child) -> Callable[[], bool]:
    if not options.drain:
        return lambda: False
    own = process.ownership
    return Drain(Backlog(own.client, own.keys, own.queues), process.owners, own).is_done


def _handle_signals(process: child.Child) -> None:
    actions = {
        "SIGTERM": process.ask_stop,
        "SIGINT": process.ask_stop,
        "SIGTSTP": process.ask_quiet,
        "SIGTTIN": child.dump_stacks,
    }
    for name, action in actions.items():
        number = getattr(signal, name, None)  # TSTP and TTIN are unknown on Windows
        if number is not None:
            signal.signal(number, lambda *_, act=action: act())


def _set_up_logging(settings: Settings) -> None:
    """Give every record its job's jid; show the worker's lines where the project has not said what to do."""
    JobContext().install()
    if logger.handlers or not settings.log_jobs:
        return
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    logger.propagate = False


def _warn_of_the_server() -> None:
    """Say at the start what will hurt later; a server that is away is met by the worker itself."""
    for message in checks.server_messages():
        logger.warning("%s (%s)", message.msg, message.id)


def _print_banner(options: WorkerOptions, patience: Patience) -> None:
    queues = ", ".join(f"{n},{w}" if w else n for n, w in options.queues)
    lines = [
        f"django-sidekick on Python {sys.version.split()[0]}, Django {django.get_version()}",
        f"redis {patience.host}:{patience.port}  queues {queues} ({turns.mode(options.queues)})  "
        f"threads {options.concurrency}  jobs known {len(JOBS)}  pid {os.getpid()}",
    ]
    if options.config_file:
        lines.append(f"options from {options.config_file}")
    sys.stderr.write("\n".join(lines) + "\n")
    sys.stderr.flush()


def _leave(process: child.Child) -> None:
    """End hard if threads are still inside jobs: they cannot be interrupted, and their jobs are pushed back."""
    if process.intake.busy:
        logging.shutdown()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(0)
