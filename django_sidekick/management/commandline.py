"""The options of a worker: settings, sidekiq.yml and command line in one value."""

from __future__ import annotations

import math
import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from django.conf import settings as django_settings

from django_sidekick.conf import get_settings
from django_sidekick.exceptions import ConfigurationError
from django_sidekick.worker import configfile
from django_sidekick.worker.options import WorkerOptions

SETTINGS_OF_FILE = {
    "max_retries": "max_retries",
    "dead_max_jobs": "dead_max_jobs",
    "dead_timeout_in_seconds": "dead_timeout_s",
}
"""Which fields of Settings a sidekiq.yml replaces, by Sidekiq's names."""


@dataclass(frozen=True, slots=True)
class CommandLine:
    """What `runworker` was given; None where it says nothing."""

    queues: tuple[str, ...] = ()
    concurrency: int | None = None
    processes: int | None = None
    timeout_s: float | None = None
    config_file: str | None = None
    environment: str = ""
    tag: str = ""
    drain: bool = False
    reload: bool = False


def worker_options(command_line: CommandLine) -> WorkerOptions:
    """Return the options in force: the command line wins over sidekiq.yml, which wins over the settings."""
    settings = get_settings()
    path, document = _config_file(command_line)
    served = {name: document[key] for key, name in SETTINGS_OF_FILE.items() if key in document}
    settings = replace(settings, **served)
    queues = configfile.parse_queues(list(command_line.queues), "runworker -q")
    concurrency = _first(command_line.concurrency, document.get("concurrency"), settings.concurrency)
    timeout_s = _first(command_line.timeout_s, document.get("timeout"), settings.shutdown_timeout_s)
    processes = _first(command_line.processes, settings.processes)
    if concurrency < 1 or processes < 0 or timeout_s < 0 or not math.isfinite(timeout_s):
        raise ConfigurationError(
            "runworker: -c must be at least 1, -p must not be negative, -t must be seconds from 0."
        )
    return WorkerOptions(
        settings=settings,
        queues=queues or document.get("queues") or settings.queues,
        concurrency=concurrency,
        shutdown_timeout_s=float(timeout_s),
        processes=processes if hasattr(os, "fork") else 0,
        tag=command_line.tag or str(document.get("tag") or _base_dir().name),
        labels=document.get("labels", ()),
        drain=command_line.drain,
        verbose=document.get("verbose", False),
        config_file=path,
    )


def _config_file(command_line: CommandLine) -> tuple[Path | None, dict[str, Any]]:
    path = Path(command_line.config_file) if command_line.config_file else configfile.find(_base_dir())
    if path is None:
        return None, {}
    environment = command_line.environment or os.environ.get("DJANGO_ENV", "")
    return path, configfile.read(path, environment)


def _base_dir() -> Path:
    return Path(getattr(django_settings, "BASE_DIR", None) or Path.cwd())


def _first(*values: Any) -> Any:
    return next(value for value in values if value is not None)
