"""Redis away: at the start, for a while, at the end. What a whole `runworker` says of it, and that nothing is lost."""

from __future__ import annotations

import json
import logging
import os
import signal
import time
from pathlib import Path

import pytest
import redis as redis_py

from django_sidekick.broker.patience import Patience, absence_of
from django_sidekick.exceptions import BrokerUnavailable
from tests.app.jobs import EchoJob
from tests.conftest import RedisServer, wait_until
from tests.settings import free_port
from tests.worker.test_supervisor import children_of
from tests.workers import child, worker_process

ALONE_AND_SUPERVISED = pytest.mark.parametrize("processes", ["0", "2"])
JOB = {"class": EchoJob.name, "args": [1], "queue": "default", "retry": True, "jid": "a" * 24}


@pytest.fixture
def server():
    server = RedisServer("--appendonly", "yes", "--appendfsync", "always")
    yield server
    server.close()


def assert_told_as_promised(worker, port):
    """One warning naming host and port, again at most every 5 s; one more at each return; no traceback."""
    output, told = worker.output(), worker.away()
    # What is compared is when the lines were made: right after the clock was asked, unless the machine is busy.
    assert all(later - earlier >= 4.5 for earlier, later in zip(told, told[1:], strict=False)), output
    assert output.count("is away") == len(told) == output.count(f"Redis at 127.0.0.1:{port} is away"), output
    assert output.count("is back after") <= len(told)
    assert "\nTraceback" not in output, output


@ALONE_AND_SUPERVISED
def test_a_start_without_redis_is_told_once_every_five_seconds_and_then_the_work_begins(server, processes):
    server.stop()
    began = time.time()
    with worker_process("-p", processes, SIDEKICK_TEST_PORT=str(server.port)) as worker:
        wait_until(lambda: len(worker.away()) >= 2, "the second warning", 20)
        assert worker.away()[0] - began < 10
        server.start()
        worker.wait_for("is back after")
        redis_py.Redis(port=server.port).lpush("queue:default", json.dumps(JOB))
        worker.wait_for(": done")
        assert_told_as_promised(worker, server.port)
        assert worker.output().count("is back after") == 1
        worker.send(signal.SIGTERM)
        assert worker.wait() == 0


@ALONE_AND_SUPERVISED
def test_an_idle_worker_notices_within_five_seconds_and_ends_without_redis(server, processes):
    with worker_process("-p", processes, SIDEKICK_TEST_PORT=str(server.port)) as worker:
        client = redis_py.Redis(port=server.port)
        wait_until(lambda: client.scard("processes") == max(1, int(processes)), "the first beats")
        server.stop()
        gone = time.time()
        wait_until(worker.away, "the warning")
        assert worker.away()[0] - gone < 5
        worker.send(signal.SIGTERM)
        assert worker.wait() == 0
        assert_told_as_promised(worker, server.port)


def test_a_restart_loses_nothing(server):
    client = redis_py.Redis(port=server.port)
    with worker_process(SIDEKICK_TEST_PORT=str(server.port)) as worker:
        for jid in ("b" * 24, "c" * 24):
            client.lpush("queue:default", json.dumps({**JOB, "jid": jid}))
            server.stop()
            server.start()
            wait_until(lambda jid=jid: f"jid={jid} queue=default elapsed=" in worker.output(), "the job", 30)
        assert_told_as_promised(worker, server.port)


@pytest.mark.parametrize("processes", ["0", "1"])
def test_redis_away_holds_up_no_signal(processes):
    port = str(free_port())
    with worker_process("-p", processes, "-t", "1", SIDEKICK_TEST_PORT=port) as worker:
        worker.wait_for("is away")
        worker.send(signal.SIGTERM)
        assert worker.wait(10) == 0
        assert_told_as_promised(worker, port)


def test_children_that_wait_for_redis_end_with_their_supervisor():
    with worker_process("-p", "2", SIDEKICK_TEST_PORT=str(free_port())) as worker:
        worker.wait_for("is away")
        children = children_of(worker.process.pid)
        worker.kill()
        wait_until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in children), "the orphans to end", 20)
        assert len(children) == 3


def test_old_journals_are_no_reason_for_a_traceback(tmp_path):
    journal = tmp_path / "host:1:0123456789ab.journal"
    journal.write_bytes(b"old")
    os.utime(journal, (1, 1))
    port = str(free_port())
    with worker_process("-p", "1", SIDEKICK_TEST_PORT=port, SIDEKICK_TEST_RUNTIME_DIR=str(tmp_path)) as worker:
        worker.wait_for("is away")
        worker.send(signal.SIGTERM)
        assert worker.wait(15) == 0
        assert_told_as_promised(worker, port)
        assert journal.exists()


class TestOneProcess:
    """Two callers that share what is said."""

    @pytest.fixture
    def callers(self):
        absence_of.cache_clear()
        client = redis_py.Redis(host="127.0.0.1", port=1)
        return Patience(client), Patience(client)

    @staticmethod
    def failing(times, reads):
        """A call that fails so often, calling `reads` in between."""

        def call():
            if not times:
                return "answer"
            times.pop()
            reads()
            raise redis_py.exceptions.ReadOnlyError("no writes now")

        return call

    def test_what_can_be_read_is_not_back_while_somebody_waits_to_write(self, callers, caplog):
        first, second = callers
        with caplog.at_level(logging.WARNING):
            answer = first.call(self.failing([1, 2, 3, 4], lambda: second.call(lambda: "read")))

        assert answer == "answer"
        assert [record.message.split("(")[0].split(" after")[0] for record in caplog.records] == [
            "Redis at 127.0.0.1:1 is away ",
            "Redis at 127.0.0.1:1 is back",
        ]

    def test_whoever_gives_up_does_not_say_that_redis_is_back(self, callers, caplog):
        first, _ = callers
        first.give_up(0.2)
        with caplog.at_level(logging.WARNING), pytest.raises(BrokerUnavailable):
            first.call(self.failing([1] * 100, lambda: None))

        assert "is back" not in caplog.text

    def test_a_call_that_was_cut_once_is_told_of_nothing(self, callers, caplog):
        first, _ = callers
        with caplog.at_level(logging.WARNING):
            first.call(self.failing([1], lambda: None))

        assert caplog.text == ""


def test_nothing_to_count_asks_redis_nothing(redis):
    worker = child()
    redis.config_resetstat()
    patience_calls = []
    worker.ownership.patience.call = patience_calls.append
    worker._counts.write()

    assert patience_calls == []
