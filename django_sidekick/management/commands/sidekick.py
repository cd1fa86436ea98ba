"""`manage.py sidekick <verb>`: everything that is not running a worker."""

from __future__ import annotations

from argparse import ArgumentParser, ArgumentTypeError
from collections.abc import Callable
from functools import partial
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from django_sidekick.broker import embedded
from django_sidekick.broker.broker import get_broker
from django_sidekick.broker.inspector import Inspector
from django_sidekick.broker.lag import Lag
from django_sidekick.conf import STATES, get_settings
from django_sidekick.exceptions import SidekickError
from django_sidekick.history import retention
from django_sidekick.jobs.byhand import inspector_for
from django_sidekick.management.commands import runworker

MOST_CHARACTERS = 6
"""Of an age, its unit with them: no calendar reaches back further."""


class Command(BaseCommand):
    """Look after jobs from a shell: status, prune, retry, kill, delete, pause, resume, a development Redis, a worker."""

    help = "Look after jobs: worker, redis, status, prune, retry, kill, delete, pause, resume."
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Declare the verbs."""
        verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")
        runworker.Command().add_arguments(verbs.add_parser("worker", help="the same as runworker"))
        server = verbs.add_parser("redis", help="start a development Redis if none answers")
        server.add_argument("--stop", action="store_true", help="end the one that was started")
        verbs.add_parser("status", help="print the seven numbers and the queues")
        old = verbs.add_parser("prune", help="delete old rows of the history")
        old.add_argument(
            "--older-than",
            type=age_s,
            metavar="AGE",
            help="such as 90m, 12h, 30d; without it, what the settings do not keep",
        )
        old.add_argument(
            "--state", action="append", choices=STATES, default=[], help="of this state only; repeat for more"
        )
        old.add_argument("--dry-run", action="store_true", help="count them, and delete nothing")
        for verb, text in (
            ("retry", "put jobs of retry, dead or the schedule on their queues now"),
            ("kill", "move jobs to the dead set"),
            ("delete", "take jobs out of Redis"),
        ):
            verbs.add_parser(verb, help=text).add_argument("jids", nargs="+", metavar="JID")
        for verb, text in (
            ("pause", "let no worker take from queues"),
            ("resume", "let workers take from queues again"),
        ):
            verbs.add_parser(verb, help=text).add_argument("queues", nargs="+", metavar="QUEUE")

    def handle(self, *args: Any, verb: str, **options: Any) -> None:
        """Do what the verb says. Raise CommandError with the reason if it cannot be done."""
        try:
            if verb == "worker":
                self.check()
                runworker.Command().handle(**options)
            elif verb == "redis":
                self._redis(stop=options["stop"])
            elif verb == "prune":
                self._prune(options["older_than"], tuple(options["state"]), dry_run=options["dry_run"])
            elif verb == "status":
                self._status()
            elif verb in ("pause", "resume"):
                self._switch(verb, options["queues"])
            else:
                self._each(verb, options["jids"])
        except SidekickError as error:
            raise CommandError(str(error)) from error

    def _redis(self, *, stop: bool) -> None:
        if stop:
            ended = embedded.stop_server(get_settings())
            self.stdout.write("stopped" if ended else "none was started here")
            return
        started = embedded.ensure_server(get_settings())
        place = f"redis://{embedded.DEFAULT_HOST}:{embedded.DEFAULT_PORT}/0"
        self.stdout.write(f"{'started' if started else 'already answers'}: {place}")

    def _prune(self, older_than_s: float | None, states: tuple[str, ...], *, dry_run: bool) -> None:
        settings = get_settings()
        if states and older_than_s is None:
            raise CommandError("--state needs --older-than.")
        named = None if older_than_s is None else retention.older_than(settings, older_than_s, states)
        if dry_run:
            count = retention.count_outdated(settings) if named is None else named.count()
            self.stdout.write(f"{count} rows would be deleted")
        else:
            deleted = sum(retention.prune(settings) if named is None else retention.delete(named))
            self.stdout.write(f"{deleted} rows deleted")

    def _status(self) -> None:
        inspector = Inspector(get_broker())
        for name, count in _answered(inspector.sizes).items():
            self.stdout.write(f"{name:<10} {count:>10}")
        lag: Lag = _answered(inspector.lag)
        if lag.batches:
            self.stdout.write(f"history    {lag.batches} batches of events wait ({lag.size_bytes} bytes)")
        if lag.stuck:
            self.stdout.write(f"history    cannot be written: {lag.stuck}")
        if lag.dropped:
            self.stdout.write(f"history    {lag.dropped} events were dropped")
        paused = _answered(inspector.paused)
        for name, count in _answered(inspector.queues).items():
            note = "  paused" if name in paused else ""
            self.stdout.write(f"queue {name:<20} {count:>10}{note}")

    def _switch(self, verb: str, queues: list[str]) -> None:
        inspector = Inspector(get_broker())
        act = inspector.pause if verb == "pause" else inspector.resume
        changed = [name for name in queues if _answered(partial(act, name))]
        self.stdout.write(f"{verb}: {', '.join(changed) or 'nothing to do'}")

    def _each(self, verb: str, jids: list[str]) -> None:
        broker = get_broker()
        acts = {
            "retry": inspector_for(broker, "retry_now").retry,
            "kill": inspector_for(broker, "kill").kill,
            "delete": inspector_for(broker, "delete").delete,
        }
        missing = [jid for jid in jids if not _answered(partial(acts[verb], jid))]
        self.stdout.write(f"{verb}: {len(jids) - len(missing)} of {len(jids)}")
        if missing:
            raise CommandError(f"not found where {verb} could act: {', '.join(missing)}")


def age_s(text: str) -> float:
    """Return the seconds of an age such as 90m, 12h or 30d. Raise argparse's error for anything else."""
    units = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
    if text[-1:] not in units or not text[:-1].isdecimal() or len(text) > MOST_CHARACTERS:
        raise ArgumentTypeError(
            f"{text!r} is no age: write a whole number and s, m, h or d behind it, such as 90m, 12h or 30d; "
            f"{MOST_CHARACTERS} characters at most."
        )
    return float(int(text[:-1]) * units[text[-1]])


def _answered(ask: Callable[[], Any]) -> Any:
    """Wait for Redis as long as a push would."""
    return get_broker().ask(ask)
