"""`manage.py runworker`: run jobs until told to stop."""

from __future__ import annotations

import logging
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError, OutputWrapper

from django_sidekick.conf import get_settings
from django_sidekick.exceptions import ConfigurationError
from django_sidekick.management import logs
from django_sidekick.management.commandline import CommandLine
from django_sidekick.management.workers import run_worker


class Command(BaseCommand):
    """Run jobs until told to stop: TERM or INT drains, TSTP quiets, TTIN prints all stacks."""

    help = "Run jobs of the given queues. TERM/INT: drain and end. TSTP: take nothing new. TTIN: print stacks. HUP: new code."
    requires_system_checks = "__all__"

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Declare the options, in Sidekiq's letters."""
        parser.add_argument(
            "-q", "--queue", action="append", metavar="NAME[,WEIGHT]", default=[],
            help="a queue to read; repeat for more. Without weights in strict order.",
        )  # fmt: skip
        parser.add_argument("-c", "--concurrency", type=int, metavar="THREADS", help="threads of each process")
        parser.add_argument(
            "-p", "--processes", type=int, metavar="PROCESSES",
            help="processes that run jobs; 0: all in this one, without a fork",
        )  # fmt: skip
        parser.add_argument(
            "-t", "--timeout", type=float, metavar="SECONDS", help="how long TERM waits for running jobs"
        )
        parser.add_argument(
            "-C", "--config", metavar="FILE", help="a sidekiq.yml; without it config/sidekiq.yml, if it is there"
        )
        parser.add_argument("-e", "--environment", default="", help="section of sidekiq.yml")
        parser.add_argument("-g", "--tag", default="", help="shown beside the process")
        parser.add_argument("--drain", action="store_true", help="end when nothing is left to do now")
        parser.add_argument("--reload", action="store_true", help="start anew when code has changed (development)")

    def execute(self, *args: Any, **options: Any) -> str | None:
        """Say in the log's own form what Django prints on the way: the checks' warnings, and why it did not start."""
        try:
            settings = get_settings()
        except ConfigurationError:  # the checks tell
            return super().execute(*args, **options)
        logs.set_up(settings)
        if settings.log_format == "json":
            self.stderr = OutputWrapper(logs.LineStream(logging.WARNING))  # type: ignore[arg-type] # it writes, no more
        return super().execute(*args, **options)

    def handle(self, *args: Any, **options: Any) -> None:
        """Compose the worker and run it. Raise CommandError for what cannot be served."""
        command_line = CommandLine(
            queues=tuple(options["queue"]),
            concurrency=options["concurrency"],
            processes=options["processes"],
            timeout_s=options["timeout"],
            config_file=options["config"],
            environment=options["environment"],
            tag=options["tag"],
            drain=options["drain"],
            reload=options["reload"],
        )
        try:
            run_worker(command_line)
        except ConfigurationError as error:
            raise CommandError(str(error)) from error
