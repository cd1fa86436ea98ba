"""The demo's second stage: all servers up, orders placed, jobs watched, everything down again."""

from __future__ import annotations

import contextlib
import os
import sys
import threading
import time
from collections.abc import Iterator

from django.db import DatabaseError
from redis.exceptions import RedisError

from testproject import sights
from testproject.customer import Customer, Refused
from testproject.outcome import Outcome
from testproject.servers import Command, Failed, Mailbox, manage
from testproject.surroundings import Surroundings, be_deaf

ORDERS = 6
DUE_WITHIN_S = 180
LOOK_EVERY_S = 0.2
"""Shorter than the shortest time between two runs of a failed job, so that two looks in a row see it once."""
ORDER_EVERY_S = 4
COLUMNS = ("enqueued", "processed", "failed", "retried", "scheduled")


class Stage:
    """One showing of the demo."""

    def __init__(self, surroundings: Surroundings, *, once: bool) -> None:
        self._at = surroundings
        self._once = once
        self._mailbox = Mailbox()
        self._outcome = Outcome()
        self._orders: list[int] = []
        self._pause = threading.Event()

    def run(self) -> int:
        """Show it all. Return 0 if every step went well; leave no process, port, key or file behind."""
        with contextlib.ExitStack() as undo:
            try:
                return self._show(undo)
            except (Failed, Refused, RedisError, DatabaseError, OSError) as error:
                tell(f"The demo failed. {error}")
                return 1
            except KeyboardInterrupt:
                return 130 if self._once else 0
            finally:
                be_deaf()

    def _show(self, undo: contextlib.ExitStack) -> int:
        undo.enter_context(redis_there())
        if reason := self._outcome.why_redis_is_away():
            raise Failed(f"Redis does not answer: {reason}")
        undo.callback(self._outcome.forget)
        manage("migrate", "--verbosity", "0")
        password = manage("load_shop").splitlines()[-1]
        undo.enter_context(self._mailbox.listening(self._at.smtp_port))
        web_log = self._at.folder / "web.log"
        web = Command("runserver", "--noreload", f"127.0.0.1:{self._at.web_port}", log=web_log)
        web = undo.enter_context(web)
        web.wait_for(self._at.web_port)
        worker = undo.enter_context(Command("runworker", "-g", "shop"))
        self._print_addresses(password)
        self._go_shopping()
        if self._once:
            return self._to_the_end(web, worker)
        return self._go_on(web, worker)

    def _print_addresses(self, password: str) -> None:
        print(
            f"shop     {self._at.shop_url}/\n"
            f"admin    {self._at.shop_url}/admin/   (demo, {password})\n"
            f"live     {self._at.shop_url}/admin/django_sidekick/live/\n"
            f"carrier  {self._at.shop_url}/carrier/quote/?order=1\n"
            f"mail     smtp://127.0.0.1:{self._at.smtp_port}",
            flush=True,
        )

    def _go_shopping(self) -> None:
        """Place the orders, one of which is rolled back, and press each of the shop's buttons."""
        customer = Customer(self._at.shop_url)
        customer.import_regions()
        for _ in range(ORDERS):
            self._order(customer)
        customer.close(self._orders[0])
        status = customer.order_what_is_sold_out()
        if status != 409:
            raise Failed(f"An order of what is sold out was answered with {status}, not 409.")
        tell(f"{ORDERS} orders placed; 1 more was rolled back, and its jobs with it.")

    def _order(self, customer: Customer) -> None:
        number = customer.order(f"buyer{len(self._orders) + 1}@example.com")
        customer.send_picture(number)
        self._orders.append(number)

    def _go_on(self, web: Command, worker: Command) -> int:
        try:
            customer = Customer(self._at.shop_url)
            sights.set_out(self._orders)
            tell(f"An order every {ORDER_EVERY_S} seconds; Ctrl-C stops all of it.")
            while True:
                self._pause.wait(ORDER_EVERY_S)
                web.check()
                worker.check()
                self._order(customer)
                sights.add(self._orders)
        except KeyboardInterrupt:
            be_deaf()
            tell("Stopping …")
            worker.stop()
            self._outcome.print_table(COLUMNS)
            raise

    def _to_the_end(self, web: Command, worker: Command) -> int:
        """Wait until all due jobs are done; print the table and what is not as it should be."""
        deadline, looks = time.monotonic() + DUE_WITHIN_S, 0
        while looks < 2:
            web.check()
            worker.check()
            if time.monotonic() > deadline:
                raise Failed(f"Not all due jobs were done within {DUE_WITHIN_S} s: {self._outcome.left()}")
            looks = 0 if any(self._outcome.left().values()) else looks + 1
            self._pause.wait(LOOK_EVERY_S)
        worker.stop()
        problems = self._outcome.problems(self._orders, self._mailbox.mails)
        self._outcome.print_table(COLUMNS)
        if problems:
            raise Failed("The numbers are not as they should be: " + "; ".join(problems))
        return 0


@contextlib.contextmanager
def redis_there() -> Iterator[None]:
    """Have a Redis: REDIS_URL's, or one that answers already, or our own, which is stopped in the end."""
    if os.environ.get("REDIS_URL"):
        yield
        return
    said = manage("sidekick", "redis")
    tell(f"Redis {said}")
    try:
        yield
    finally:
        if said.startswith("started"):
            manage("sidekick", "redis", "--stop")


def tell(text: str) -> None:
    """Say something that is neither address nor table."""
    print(text, file=sys.stderr, flush=True)
