"""A server that learns of a death late, and a start beside many orphans."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import threading
import time

import pytest

from tests.app.jobs import EchoJob, GateJob
from tests.conftest import SERVER, wait_until
from tests.workers import worker_process

pytestmark = pytest.mark.usefixtures("redis")


class LateProxy:
    """Passes everything on at once, but the end of a connection only when it is let go."""

    def __init__(self):
        self.let_go = threading.Event()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self):
        self.let_go.set()
        self._listener.close()

    def _accept(self):
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                server = socket.create_connection(("127.0.0.1", SERVER[0].port))
                for one, other in ((client, server), (server, client)):
                    threading.Thread(target=self._pump, args=(one, other), daemon=True).start()

    def _pump(self, one, other):
        with contextlib.suppress(OSError):
            while said := one.recv(65_536):
                other.sendall(said)
        self.let_go.wait(20)
        with contextlib.suppress(OSError):
            other.shutdown(socket.SHUT_RDWR)


@pytest.fixture
def proxy():
    proxy = LateProxy()
    yield proxy
    proxy.close()


def blocked(redis, command):
    return len([c for c in redis.client_list() if c["cmd"] == command and "b" in c["flags"]])


def test_what_the_server_gives_to_a_dead_childs_wait_comes_back(redis, proxy):
    with worker_process("-p", "1", "-c", "2", SIDEKICK_TEST_PORT=str(proxy.port)) as worker:
        GateJob.perform_later(1)
        wait_until(lambda: redis.llen("began") == 1 and blocked(redis, "blmove"), "a job, and a thread that waits")
        victim = int(redis.lindex("began", 0).split(b":")[1])
        os.kill(victim, signal.SIGKILL)
        killed = time.monotonic()
        wait_until(lambda: redis.llen("began") == 2, "the job to run again", 8)
        print(f"back after {time.monotonic() - killed:.2f} s though the server knew of no death")
        wait_until(lambda: blocked(redis, "blpop") == 2, "both runs to wait at the gate")
        proxy.let_go.set()
        wait_until(lambda: blocked(redis, "blpop") == 1, "the end of the dead one's own connection")
        redis.rpush("gate", "go")
        wait_until(lambda: redis.llen("ended") == 1, "its end")
        worker.send(signal.SIGTERM)
        assert worker.wait() == 0


def test_a_stopped_supervisor_costs_no_lease(redis):
    with worker_process("-p", "1") as worker:
        (identity,) = wait_until(lambda: redis.smembers("processes"), "the child")
        worker.send(signal.SIGSTOP)
        end = time.time() + 12
        redis.zadd("sk:owners", {identity: end})
        wait_until(lambda: redis.zscore("sk:owners", identity) > end, "its own renewal", 12)
        worker.send(signal.SIGCONT)
        worker.send(signal.SIGTERM)
        assert worker.wait() == 0


@pytest.mark.parametrize("processes", ["0", "1"])
def test_orphans_do_not_delay_a_start(redis, processes):
    redis.hset("sk:inflight:h:1:dead", mapping={"epoch": "1", "queues": "other"})
    redis.hset("sk:inflight:h:1:dead", mapping={str(n * 256): f"job {n:300}" for n in range(1, 30_001)})
    redis.zadd("sk:owners", {"h:1:dead": 1})
    EchoJob.perform_later("first")

    with worker_process("-p", processes, SIDEKICK_TEST_LISTEN="1") as worker:
        worker.wait_for("started: ")
        started = time.monotonic()
        wait_until(lambda: any(b"first" in said for said in redis.lrange("echo", 0, -1)), "the first job")
        took_s = time.monotonic() - started
        wait_until(lambda: redis.llen("queue:other") == 30_000, "the orphans", 20)
        print(f"-p {processes}: first job {took_s:.2f} s after the start, orphans {time.monotonic() - started:.2f} s")
        assert took_s < 2
        worker.send(signal.SIGTERM)
        assert worker.wait() == 0
