"""What the Redis server does while jobs run and producers push: it dies, stops, refuses. Nothing is lost, nothing runs twice."""

from __future__ import annotations

import collections
import contextlib
import itertools
import signal
from collections.abc import Callable

import pytest
import redis as redis_py

from django_sidekick.worker.custody import WARN_EVERY_S
from tests.conftest import RedisServer, wait_until
from tests.crash.crew import CrewProcess, is_empty, left
from tests.crash.jobs import SleepJob
from tests.crash.ledger import Ledger, check_events, settle_account
from tests.crash.producers import Producers, producing
from tests.settings import free_port

TROUBLE_S = 5.0
DOWN_S = (0.3, 6.0, 0.3)


@pytest.fixture
def server(sidekick_settings):
    """A server that has on disk what it has said yes to, and of whose death the session's other tests hear nothing."""
    started = RedisServer("--appendonly", "yes", "--appendfsync", "always", port=free_port())
    sidekick_settings(REDIS=started.url)
    yield started
    started.process.send_signal(signal.SIGCONT)
    started.close()


@pytest.fixture
def client(server):
    with contextlib.closing(redis_py.Redis.from_url(server.url)) as client:
        yield client


def live_through(trouble: Callable[[], None], server: RedisServer, client: redis_py.Redis, ledger: Ledger) -> tuple[Producers, str]:
    """Let jobs be pushed and run before, during and after the trouble. Return who pushed, and the worker's log."""
    with CrewProcess(ledger, server.url) as worker:
        with producing() as producers:
            wait_until(lambda: len(ledger), "the first job", 30)
            producers.more()
            trouble()
            producers.more()
        wait_until(lambda: is_empty(client) and ledger.has_all(producers.pushed), "all jobs whose push returned", 60)
        worker.send(signal.SIGTERM)
        assert worker.wait() == 0, worker.output()
    return producers, worker.last_output


def check(producers: Producers, client: redis_py.Redis, ledger: Ledger) -> str:
    """Each job whose push returned has run once; those of another push once, or none of them. Return the figures."""
    began = {line.number for line in ledger.lines()}
    arrived = [numbers for numbers in producers.unsure if began & {*numbers}]
    numbers = [*producers.pushed, *producers.arrived(began)]
    repeats = settle_account(ledger, client, numbers)
    check_events(client, numbers)
    assert sum(repeats) == 0
    assert left(client) == []
    raised = f"{len(producers.unsure)} pushes raised, {len(arrived)} of which had arrived"
    return f"{len(producers.pushed)} jobs pushed, {raised}: lost 0, {repeats}"


def check_log(log: str) -> int:
    """Each process warns that Redis is away at most once every 5 s, and says nothing worse. Return how often in all."""
    assert "\nTraceback" not in log
    assert " ERROR " not in log
    away = [line.split(" ", 2) for line in log.splitlines() if " is away" in line]
    by_pid = collections.defaultdict(list)
    for at_s, pid, _ in away:
        by_pid[pid].append(float(at_s))
    for times in by_pid.values():
        # A line is made right after the clock was asked, unless the machine is busy.
        assert all(later - earlier >= WARN_EVERY_S - 0.5 for earlier, later in itertools.pairwise(times)), log
    return len(away)


def test_a_killed_server_comes_back_with_all_it_has_said_yes_to(server, client, ledger, capsys):
    kills = 0

    def trouble():
        nonlocal kills
        for down_s in DOWN_S:
            server.stop()
            kills += server.process.returncode == -signal.SIGKILL
            SleepJob.pause(down_s)
            server.start()
            SleepJob.pause(0.5)

    producers, log = live_through(trouble, server, client, ledger)

    figures, warnings = check(producers, client, ledger), check_log(log)
    with capsys.disabled():
        print(f"\n{kills} kills of the server, away {sum(DOWN_S)} s in all: {figures}, {warnings} warnings of 4 processes")
    assert kills == len(DOWN_S)
    assert warnings > 0


def stop_process(server: RedisServer, client: redis_py.Redis) -> Callable[[], None]:
    server.process.send_signal(signal.SIGSTOP)
    return lambda: server.process.send_signal(signal.SIGCONT)


def pause_clients(server: RedisServer, client: redis_py.Redis) -> Callable[[], None]:
    client.execute_command("CLIENT", "PAUSE", int(TROUBLE_S * 1000), "ALL")
    return lambda: None


def lack_replicas(server: RedisServer, client: redis_py.Redis) -> Callable[[], None]:
    client.config_set("min-replicas-to-write", 1)
    return lambda: client.config_set("min-replicas-to-write", 0)


def become_replica(server: RedisServer, client: redis_py.Redis) -> Callable[[], None]:
    """Of a master that nobody can reach: else it would take over that one's data."""
    client.replicaof("127.0.0.1", free_port())
    return lambda: client.replicaof("NO", "ONE")


def run_out_of_memory(server: RedisServer, client: redis_py.Redis) -> Callable[[], None]:
    client.config_set("maxmemory", 1)
    return lambda: client.config_set("maxmemory", 0)


@pytest.mark.parametrize(
    "begin", [stop_process, pause_clients, lack_replicas, become_replica, run_out_of_memory], ids=lambda f: f.__name__
)
def test_five_seconds_of_trouble_lose_nothing(server, client, ledger, begin, capsys):
    def trouble():
        end = begin(server, client)
        SleepJob.pause(TROUBLE_S)
        end()

    producers, log = live_through(trouble, server, client, ledger)

    figures, warnings = check(producers, client, ledger), check_log(log)
    with capsys.disabled():
        print(f"\n{begin.__name__} for {TROUBLE_S:.0f} s: {figures}, {warnings} warnings of 4 processes")
    assert producers.unsure, "no push has met the trouble"
