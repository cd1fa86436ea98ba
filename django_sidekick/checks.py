"""`manage.py check`: E for what cannot run, W for what will hurt. docs/reference/checks.md lists all ids."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

from django.apps import AppConfig
from django.conf import settings as django_settings
from django.core.checks import CheckMessage, Error, Warning, register  # Django's names
from django.core.management import get_commands
from django.db import Error as DatabaseError
from django.db import connections

from django_sidekick.broker import health
from django_sidekick.conf import Settings, get_settings
from django_sidekick.exceptions import ConfigurationError
from django_sidekick.feature import load_features
from django_sidekick.jobs.base import BaseJob
from django_sidekick.jobs.execute import Executor
from django_sidekick.jobs.mirrored import is_mirrored
from django_sidekick.jobs.options import problems_of
from django_sidekick.jobs.registry import JOBS
from django_sidekick.middleware import compose, load_layers
from django_sidekick.wire.serializers import load_serializers

TAG = "sidekick"


@register(TAG)
def check_sidekick(app_configs: Sequence[AppConfig] | None = None, **_: Any) -> list[CheckMessage]:
    """Check settings, paths, job classes and commands. Opens no connection."""
    try:
        settings = get_settings()
        health.address_of(settings)
        compose(load_layers(settings.client_middleware, "CLIENT_MIDDLEWARE"), lambda payload: payload)
        load_serializers(settings.serializers)
        Executor(settings, features=load_features(settings))
    except ConfigurationError as error:
        return [Error(str(error), id="sidekick.E001")]
    return [
        *_caches(settings),
        *_history(settings),
        *_threads(settings),
        *_commands(),
        *_job_classes(),
        *(message for feature in load_features(settings) for message in feature.checks()),
    ]


def server_messages() -> list[CheckMessage]:
    """Check the server: asked for by `check --tag sidekick` and at a worker's start. 0.2 s, silent when away."""
    try:
        settings = get_settings()
    except ConfigurationError:
        return []
    messages = list(_journal_mode(settings))
    found = health.server_health(settings, timeout_s=0.2)
    if found is None:
        return messages
    if found.version < (6, 2):
        messages.append(Error(f"Redis {found.version_text} is too old: 6.2 is needed.", id="sidekick.E003"))
    if found.policy not in ("", "noeviction"):
        messages.append(
            Warning(
                f"The Redis server may evict jobs when memory is short (maxmemory-policy {found.policy}).",
                hint="Set maxmemory-policy noeviction on a server that holds jobs.",
                id="sidekick.W001",
            )
        )
    return messages


@register(TAG)
def check_server(app_configs: Sequence[AppConfig] | None = None, **_: Any) -> list[CheckMessage]:
    """Ask the server only when the tag is named: other commands run checks too and must not wait for Redis."""
    return server_messages() if _is_tag_named() else []


def _is_tag_named() -> bool:
    """Tell whether the command line names our tag of checks."""
    words = sys.argv[1:]
    in_one_word, in_two_words = {f"--tag={TAG}", f"-t{TAG}"}, {("--tag", TAG), ("-t", TAG)}
    return bool(in_one_word & set(words) or in_two_words & set(pairwise(words)))


def _caches(settings: Settings) -> Iterable[CheckMessage]:
    mine = health.places_of(settings)
    if settings.redis == "default":
        yield Warning(
            "SIDEKICK['REDIS'] is the default cache: cache.clear() is FLUSHDB and would delete all jobs.",
            hint="Give jobs an alias of their own with another database number.",
            id="sidekick.W002",
        )
    for name, other in django_settings.CACHES.items():
        if name != settings.redis and mine & health.places(other):
            yield Error(
                f"The cache {name!r} shares server and database with the jobs (SIDEKICK['REDIS']): "
                "clearing it deletes all jobs.",
                hint="Give one of them another database number.",
                id="sidekick.E002",
            )


def _history(settings: Settings) -> Iterable[CheckMessage]:
    if is_mirrored(settings, JOBS) and settings.history_database not in connections:
        yield Error(
            f"SIDEKICK['HISTORY_DATABASE'] names {settings.history_database!r}, which is not in DATABASES "
            f"({', '.join(connections)}).",
            id="sidekick.E005",
        )


def _journal_mode(settings: Settings) -> Iterable[CheckMessage]:
    """Ask a SQLite file how it is written. The connection is closed again: a worker forks after this."""
    alias = settings.history_database
    if not is_mirrored(settings, JOBS) or alias not in connections or connections[alias].vendor != "sqlite":
        return
    connection = connections[alias]
    name = str(connection.settings_dict["NAME"])
    if not Path(name).is_file() or connection.connection is not None:
        return
    try:
        with connection.cursor() as cursor:
            (mode,) = cursor.execute("PRAGMA journal_mode").fetchone()
    except DatabaseError:
        return
    finally:
        connection.close()
    if mode != "wal":
        yield Warning(
            f"The history of jobs is written into the SQLite database {alias!r}, whose journal_mode is {mode}: "
            "readers and the recorder wait for each other.",
            hint='Set OPTIONS = {"init_command": "PRAGMA journal_mode=WAL", "transaction_mode": "IMMEDIATE"}.',
            id="sidekick.W005",
        )


def _threads(settings: Settings) -> Iterable[CheckMessage]:
    for connection in connections.all():
        most = _pool_size(connection.settings_dict.get("OPTIONS", {}).get("pool"))
        if most is not None and most < settings.concurrency:
            yield Warning(
                f"A worker has {settings.concurrency} threads, the pool of database {connection.alias!r} "
                f"{most} connections.",
                hint="Raise the pool's max_size or lower SIDEKICK['CONCURRENCY'].",
                id="sidekick.W003",
            )


def _pool_size(pool: Any) -> int | None:
    """Return how many connections a pool may have, by psycopg_pool's defaults; None without one."""
    if not pool:
        return None
    options = pool if isinstance(pool, dict) else {}
    size = options.get("max_size")
    return int(options.get("min_size", 4) if size is None else size)


def _commands() -> Iterable[CheckMessage]:
    owner = get_commands().get("runworker")
    name = owner if isinstance(owner, str) else getattr(owner, "__module__", "")
    if owner is not None and "django_sidekick" not in name:
        yield Warning(
            f"`manage.py runworker` is {name}'s: it comes before django_sidekick in INSTALLED_APPS.",
            hint="Use `manage.py sidekick worker`, or put django_sidekick first.",
            id="sidekick.W004",
        )


def _job_classes() -> Iterable[CheckMessage]:
    for job_class in JOBS.values():
        for problem in problems_of(job_class):
            yield Error(f"{job_class.__qualname__}: {problem}", obj=job_class, id="sidekick.E004")
    claims: dict[str, set[str]] = {}
    for job_class in _all_classes(BaseJob):
        if job_class.name in JOBS and callable(getattr(job_class, "perform", None)):
            path = f"{job_class.__module__}.{job_class.__qualname__}"
            claims.setdefault(job_class.name, set()).add(path)
    for name, paths in claims.items():
        if len(paths) > 1:
            yield Error(
                f"{' and '.join(sorted(paths))} have one class_name, {name!r}: only the last one loaded runs.",
                hint="Give each a name of its own.",
                id="sidekick.E006",
            )


def _all_classes(parent: type[BaseJob]) -> Iterable[type[BaseJob]]:
    for job_class in parent.__subclasses__():
        yield job_class
        yield from _all_classes(job_class)
