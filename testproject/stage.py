"""The demo's second stage: all servers up, orders placed, jobs watched, everything down again."""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

from aiosmtpd.controller import Controller

from testproject.customer import Customer

ROOT = Path(__file__).resolve().parent.parent
ORDERS = 6
DUE_WITHIN_S = 200
START_WITHIN_S = 60
COLUMNS = ("enqueued", "processed", "failed", "retried", "scheduled")
QUEUES = ("mail", "default", "low")


class Mailbox:
    """A real SMTP server's handler that counts what arrives."""

    def __init__(self) -> None:
        self.mails = 0

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:  # noqa: N802 aiosmtpd's name
        """Take the mail."""
        self.mails += 1
        return "250 OK"


class Stage:
    """One showing of the demo."""

    def __init__(self, *, once: bool) -> None:
        self._once = once
        self._processes: list[subprocess.Popen[bytes]] = []
        self._mailbox = Mailbox()
        self._web_port, self._smtp_port = free_port(), free_port()
        self._var = Path(tempfile.mkdtemp(prefix="sidekick-shop-"))
        self._started_redis = False
        self._pause = threading.Event()
        self._environment = {
            **os.environ,
            "DJANGO_SETTINGS_MODULE": "testproject.settings",
            "SHOP_VAR_DIR": str(self._var),
            "SHOP_SMTP_PORT": str(self._smtp_port),
            "SHOP_CARRIER_URL": f"http://127.0.0.1:{self._web_port}/carrier/quote/",
            "SHOP_KEY_PREFIX": f"shop-{secrets.token_hex(4)}:",
        }

    def run(self) -> int:
        """Show it all; return 0 if every step went well. Leaves no process, port or file behind."""
        mail = Controller(self._mailbox, hostname="127.0.0.1", port=self._smtp_port)
        try:
            self._start_redis()
            mail.start()
            self._manage("migrate", "--verbosity", "0")
            self._start_servers()
            self._place_orders()
            return self._to_the_end() if self._once else self._go_on()
        except KeyboardInterrupt:
            print("\nStopping …", flush=True)
            return 0
        finally:
            self._stop(mail)

    def _start_redis(self) -> None:
        if "REDIS_URL" in os.environ:
            return
        said = self._manage("sidekick", "redis")
        self._started_redis = said.startswith("started")
        print(f"Redis {said}", flush=True)

    def _start_servers(self) -> None:
        self._start("runserver", "--noreload", str(self._web_port))
        worker_log = subprocess.DEVNULL if self._once else None
        self._start("runworker", stderr=worker_log)
        deadline = time.monotonic() + START_WITHIN_S
        while not answers(self._web_port):
            if time.monotonic() > deadline or self._processes[0].poll() is not None:
                raise SystemExit("The web server did not start.")
            self._pause.wait(0.1)

    def _place_orders(self) -> None:
        customer = Customer(f"http://127.0.0.1:{self._web_port}")
        for number in range(1, ORDERS + 1):
            customer.order(f"buyer{number}@example.com", f"Teapot no. {number}")
            customer.send_picture(number)
        customer.import_regions()
        print(f"{ORDERS} orders placed over HTTP at http://127.0.0.1:{self._web_port}/", flush=True)

    def _go_on(self) -> int:
        print(
            f"\n  shop    http://127.0.0.1:{self._web_port}/\n"
            f"  carrier http://127.0.0.1:{self._web_port}/carrier/quote/\n"
            "\nAn order every few seconds; Ctrl-C stops all of it.\n",
            flush=True,
        )
        customer, number = Customer(f"http://127.0.0.1:{self._web_port}"), ORDERS
        while True:
            self._pause.wait(4)
            number += 1
            customer.order(f"buyer{number}@example.com", f"Teapot no. {number}")

    def _to_the_end(self) -> int:
        os.environ.update(self._environment)
        import django  # noqa: PLC0415 the settings are known only now

        django.setup()
        from testproject.outcome import Outcome  # noqa: PLC0415 see above

        outcome = Outcome(QUEUES)
        deadline = time.monotonic() + DUE_WITHIN_S
        while not outcome.all_due_are_done():
            if time.monotonic() > deadline:
                raise SystemExit(f"Not all due jobs were done within {DUE_WITHIN_S} s.")
            self._pause.wait(0.2)
        self._end(self._processes.pop())
        outcome.print_table(COLUMNS)
        problems = outcome.problems(ORDERS, self._mailbox.mails)
        for problem in problems:
            print(f"wrong: {problem}", file=sys.stderr)
        outcome.forget()
        return 1 if problems else 0

    def _start(self, *words: str, stderr: int | None = None) -> None:
        self._processes.append(
            subprocess.Popen(
                [sys.executable, "manage.py", *words], cwd=ROOT, env=self._environment,
                stdout=subprocess.DEVNULL, stderr=stderr if stderr is not None or words[0] == "runworker" else subprocess.DEVNULL,
            )
        )  # fmt: skip

    def _manage(self, *words: str) -> str:
        done = subprocess.run(
            [sys.executable, "manage.py", *words], cwd=ROOT, env=self._environment,
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        if done.returncode:
            raise SystemExit(f"manage.py {' '.join(words)} failed:\n{done.stderr}")
        return done.stdout.strip()

    def _end(self, process: subprocess.Popen[bytes]) -> None:
        process.terminate()
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def _stop(self, mail: Controller) -> None:
        for process in reversed(self._processes):
            self._end(process)
        with contextlib.suppress(Exception):  # a controller that never started cannot be stopped
            mail.stop()
        if self._started_redis:
            self._manage("sidekick", "redis", "--stop")
        shutil.rmtree(self._var, ignore_errors=True)


def free_port() -> int:
    """Return a port of the loopback address that nobody listens at."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def answers(port: int) -> bool:
    """Tell whether somebody listens."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=1):
            return True
    except OSError:
        return False
