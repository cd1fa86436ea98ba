"""A server that is stopped, not gone: connections stay open and nothing is answered."""

from __future__ import annotations

import os
import signal

import pytest
import redis

from tests.conftest import RedisServer, wait_until
from tests.worker.family import settings_module
from tests.workers import worker_process

HASTY = "from django_sidekick.worker import child\nchild.SIGN_OFF_S = child.AWAY_AT_THE_END_S = 0.5\n"


@pytest.fixture
def server():
    server = RedisServer()
    yield server
    os.kill(server.process.pid, signal.SIGCONT)
    server.close()


@pytest.mark.parametrize("queues", [("default",), ("default", "low")], ids=["one queue", "two"])
def test_a_lone_worker_ends_in_time_though_redis_hangs(server, tmp_path, queues):
    client = redis.Redis(port=server.port)
    words = [word for name in queues for word in ("-q", name)]
    environment = {"SIDEKICK_TEST_PORT": str(server.port), **settings_module(tmp_path, "hasty", HASTY)}
    with worker_process("-t", "1", *words, **environment) as worker:
        wait_until(lambda: client.info("clients")["blocked_clients"] == len(queues), "the wait for work")
        os.kill(server.process.pid, signal.SIGSTOP)
        worker.send(signal.SIGTERM)
        assert worker.wait(15) == 0
        assert "Could not sign off" in worker.output()
