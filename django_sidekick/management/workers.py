"""Putting a worker together: options into processes that run."""

from __future__ import annotations

import faulthandler
import logging
import os
import signal
import sys
from collections.abc import Callable

import django

from django_sidekick import checks
from django_sidekick.broker import embedded, health
from django_sidekick.broker.backlog import Backlog
from django_sidekick.broker.events import EventStream
from django_sidekick.broker.patience import Absence
from django_sidekick.broker.quarantine import quarantine_of
from django_sidekick.broker.recovery import OwnerRegister
from django_sidekick.feature import Feature, load_features
from django_sidekick.history.recorder import Recorder
from django_sidekick.jobs import mirrored
from django_sidekick.jobs.execute import Executor
from django_sidekick.jobs.mirrored import EventsOf
from django_sidekick.jobs.registry import JOBS
from django_sidekick.management import logs
from django_sidekick.management.commandline import CommandLine, worker_options
from django_sidekick.worker import bell, child, collector, leash, queueorder, stacks
from django_sidekick.worker.blame import Acquittal
from django_sidekick.worker.custody import Custody
from django_sidekick.worker.drain import Drain
from django_sidekick.worker.joblog import JobLog
from django_sidekick.worker.link import Link
from django_sidekick.worker.options import WorkerOptions
from django_sidekick.worker.reexec import Renewal, command, is_rehearsal
from django_sidekick.worker.reload import Reloader
from django_sidekick.worker.service import Actor, Service
from django_sidekick.worker.supervised import Role
from django_sidekick.worker.supervisor import Supervisor
from django_sidekick.worker.threads import Wake

logger = logging.getLogger("sidekick")

SWITCH_EVERY_S = 0.00005
"""In the service, whose threads are few: one that holds a database's lock shall not wait 5 ms for one that makes rows."""


def run_worker(command_line: CommandLine) -> None:
    """Run a worker until it is told to stop or, with drain, has nothing left to do.

    Raise ConfigurationError before anything has begun. Ends the interpreter hard if a job outlives the
    shutdown time-out: it was pushed back before.
    """
    options = worker_options(command_line)
    crew = Crew(options)
    if is_rehearsal():
        return
    if command_line.reload:
        Reloader(command()).run()
        return
    faulthandler.enable()  # all stacks, if the interpreter itself crashes
    _print_banner(options)
    _warn_of_the_server()
    if options.processes:
        crew.run_supervised()
    else:
        crew.run_alone()


class Crew:
    """What all processes of a worker have in common, loaded once before the first fork.

    `events_of`: makes the blob of events that goes with an acknowledgement, in place of what the settings ask for;
    no recorder reads these.
    """

    def __init__(self, options: WorkerOptions, events_of: EventsOf | None = None) -> None:
        settings = options.settings
        self._options = options
        self._events_of = events_of or mirrored.events_of(settings, JOBS)
        self._is_mirrored = self._events_of is not None and events_of is None
        self._leash = leash.taken()
        self._job_log = JobLog(settings.log_format) if settings.log_jobs else None
        logs.set_up(settings, verbose=options.verbose)
        self._executor = self._build_executor(*load_features(settings))

    def _build_executor(self, *features: Feature) -> Executor:
        layers = (self._job_log.middleware,) if self._job_log else ()
        return Executor(self._options.settings, features=features, layers=layers)

    def run_supervised(self) -> None:
        """Fork and look after the processes that -p asks for."""
        embedded.leave_to_others()
        custody, renewal = Custody(self._options, self._events_of), Renewal(self._leash)
        Supervisor(self._options, custody, self.run_child, renewal, self._leash).run()

    def run_alone(self) -> None:
        """Be the only process (-p 0). HUP: once the new code has started in a rehearsal, drain, and become it."""
        collector.freeze()
        renewal = Renewal(self._leash)
        renewal.disown()
        process = self._process(None)
        if renewal.was_quiet:
            process.ask_quiet()
        _handle(SIGHUP=renewal.ask)
        bell.release()
        is_done = self._done_when(process)

        def is_over() -> bool:
            renewal.turn()
            return renewal.is_agreed or is_done() or bool(self._leash and self._leash.is_broken)

        process.run(is_over)
        if renewal.is_agreed:
            renewal.carry_out((), is_quiet=process.is_quiet, is_called_off=lambda: process.is_asked_to_stop)
        renewal.abandon()
        _leave(process)

    def run_child(self, role: Role, link: Link) -> None:
        """Be one of the supervisor's children. It tells when Redis is away; the service may start one."""
        Absence.is_told_by_supervisor = True
        embedded.leave_to_others(leave=role != "service")
        if role == "service":
            self._serve(link)
            return
        if role == "quarantine":
            settings = self._options.settings
            self._options = self._options.of_quarantine
            self._executor = self._build_executor(*load_features(settings), Acquittal(settings))
        process = self._process(link)
        if role == "quarantine":  # what one came to is written before the next, which may kill the process, is fetched
            process.intake.fetch_little_after(0)
        process.run(self._done_when(process))
        _leave(process)

    def _process(self, link: Link | None) -> child.Child:
        collector.relax()
        process = child.Child(self._options, self._executor, self._job_log, self._events_of, link, self._actors)
        _handle(
            SIGTERM=process.ask_stop,
            SIGINT=process.ask_stop,
            SIGTSTP=process.ask_quiet,
            SIGTTIN=stacks.dump_stacks,
        )
        return process

    def _done_when(self, process: child.Child) -> Callable[[], bool]:
        """Return what is asked now and then: whether the process is to end though nobody told it to."""
        is_drained = _drained_when(self._options, process, waits_for_mirror=self._is_mirrored)

        def is_done() -> bool:
            if self._leash:
                self._leash.tell_files()
            return is_drained()

        return is_done

    def _actors(self) -> list[Actor]:
        """Made after the fork: what they connect is this process' own."""
        return [Recorder(self._options.settings, JOBS)] if self._is_mirrored else []

    def _service(self) -> Service:
        options = self._options
        return Service(options.settings, self._events_of, self._actors(), options.quarantined)

    def _serve(self, link: Link) -> None:
        collector.relax()
        sys.setswitchinterval(SWITCH_EVERY_S)
        service, woken = self._service(), Wake(link)
        _handle(SIGTERM=woken.set, SIGINT=_nothing, SIGTSTP=_nothing, SIGTTIN=stacks.dump_stacks)
        service.start()
        link.tell("ready")
        while not woken.wait(60.0) and not link.is_broken:
            pass
        for patience in service.patiences:
            patience.give_up()
        service.stop()


def _drained_when(options: WorkerOptions, process: child.Child, *, waits_for_mirror: bool) -> Callable[[], bool]:
    if not options.drain:
        return lambda: False
    own = process.ownership
    owners = OwnerRegister(own.client, options.settings)
    suspects = [quarantine_of(name) for name in options.quarantined]
    drain = Drain(Backlog(own.client, own.keys, [*own.queues, *suspects]), owners, own)
    if not waits_for_mirror:
        return drain.is_done
    stream = EventStream(own.client, own.keys)
    return lambda: drain.is_done() and own.patience.call(stream.is_written)


def _handle(**actions: Callable[[], None]) -> None:
    """Handle signals, and let those through that were held back since a fork or an exec."""
    for name, action in actions.items():
        number = getattr(signal, name, None)  # TSTP and TTIN are unknown on Windows
        if number is not None:
            signal.signal(number, lambda *_, act=action: act())
            if hasattr(signal, "pthread_sigmask"):
                signal.pthread_sigmask(signal.SIG_UNBLOCK, {number})


def _nothing() -> None:
    """Leave it to the supervisor."""


def _warn_of_the_server() -> None:
    """Say at the start what will hurt later; a server that is away is met by the worker itself."""
    for message in checks.server_messages():
        logger.warning("%s (%s)", message.msg, message.id)


def _print_banner(options: WorkerOptions) -> None:
    queues = ", ".join(f"{n},{w}" if w else n for n, w in options.queues)
    lines = [
        f"django-sidekick on Python {sys.version.split()[0]}, Django {django.get_version()}",
        f"redis {health.address_of(options.settings)}  queues {queues} ({queueorder.mode(options.queues)})  "
        f"processes {options.processes}  threads {options.concurrency}  jobs known {len(JOBS)}  pid {os.getpid()}",
    ]
    if options.config_file:
        lines.append(f"options from {options.config_file}")
    logs.banner(options.settings, lines)


def _leave(process: child.Child) -> None:
    """End hard if threads are still inside jobs: they cannot be interrupted, and their jobs are pushed back."""
    if process.intake.slots.busy:
        logging.shutdown()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(0)
