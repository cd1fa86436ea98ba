"""A real shop: its web server over a SQLite file and the session's Redis, a mail server, workers on demand."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from testproject.customer import Customer
from testproject.servers import Mailbox, answers
from tests.conftest import wait_until
from tests.settings import free_port

ROOT = Path(__file__).resolve().parent.parent.parent
PREFIX = "shop-tests:"


class Shop:
    def __init__(self, redis_url: str, redis: Any) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="sidekick-shop-tests-"))
        self.port, self.smtp_port = free_port(), free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.mailbox = Mailbox()
        self._redis = redis
        self.environment = {
            **os.environ,
            "DJANGO_SETTINGS_MODULE": "testproject.settings",
            "DATABASE_URL": "",
            "REDIS_URL": redis_url,
            "SHOP_VAR_DIR": str(self.folder),
            "SHOP_SMTP_PORT": str(self.smtp_port),
            "SHOP_CARRIER_URL": f"{self.url}/carrier/quote/",
            "SHOP_CARRIER_PAUSE_S": "3600",  # what has failed is due when a test says so, however long a drain takes
            "SHOP_KEY_PREFIX": PREFIX,
        }

    def manage(self, *words: str) -> str:
        done = subprocess.run(
            [sys.executable, "manage.py", *words],
            cwd=ROOT, env=self.environment, capture_output=True, text=True, check=False, timeout=60,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return done.stdout + done.stderr

    def start(self) -> None:
        with (self.folder / "web.log").open("w") as log:
            self.web = subprocess.Popen(
                [sys.executable, "manage.py", "runserver", "--noreload", str(self.port)],
                cwd=ROOT, env=self.environment, stdout=log, stderr=log,
            )  # fmt: skip
        wait_until(lambda: answers(self.port), "the shop's web server", 30)

    def close(self) -> None:
        self.web.terminate()
        self.web.wait(30)
        shutil.rmtree(self.folder)

    def drain(self) -> str:
        """Run all that is due now."""
        return self.manage("runworker", "--drain")

    def rows(self, statement: str, *values: object) -> list[tuple[Any, ...]]:
        link = sqlite3.connect(self.folder / "shop.sqlite3", timeout=20)
        try:
            with link:
                return link.execute(statement, values).fetchall()
        finally:
            link.close()

    def queue(self, name: str) -> list[dict[str, Any]]:
        return [json.loads(raw) for raw in self._redis.lrange(f"{PREFIX}queue:{name}", 0, -1)]

    def waiting(self) -> list[str]:
        """Return the short class names of all that is in queues."""
        jobs = [job for name in ("mail", "default", "low") for job in self.queue(name)]
        return sorted(job["class"].rpartition(".")[2] for job in jobs)

    def members(self, name: str) -> list[tuple[dict[str, Any], float]]:
        entries = self._redis.zrange(PREFIX + name, 0, -1, withscores=True)
        return [(json.loads(raw), score) for raw, score in entries]

    def make_due(self, name: str) -> None:
        """Let the time of all in a set have come."""
        for raw in self._redis.zrange(PREFIX + name, 0, -1):
            self._redis.zadd(PREFIX + name, {raw: 1})


@pytest.fixture(scope="session")
def running_shop(redis_url: str) -> Iterator[Shop]:
    import redis as redis_py

    client = redis_py.Redis.from_url(redis_url)
    place = Shop(redis_url, client)
    place.manage("migrate", "--verbosity", "0")
    place.manage("load_shop")
    place.start()
    with place.mailbox.listening(place.smtp_port):
        yield place
    place.close()
    client.close()


@pytest.fixture
def shop(running_shop: Shop, redis: Any) -> Shop:
    """The shop without orders, over an empty Redis."""
    running_shop.rows("DELETE FROM shop_order")
    running_shop.mailbox.mails = 0
    return running_shop


@pytest.fixture
def customer(shop: Shop) -> Customer:
    return Customer(shop.url)
