from __future__ import annotations

import asyncio
import contextlib
import threading
import time

import pytest
from django.db import connection, connections, transaction

from django_sidekick.exceptions import ConfigurationError
from django_sidekick.jobs.connections import DatabaseConnections
from django_sidekick.middleware import compose, load_layers
from tests.app.models import Order


def test_without_layers_the_onion_is_its_core():
    def core(job):
        return job

    assert compose([], core) is core


def test_the_first_layer_is_the_outermost():
    seen = []

    def layer(name):
        def make(call_next):
            def run(job):
                seen.append(f"{name}>")
                result = call_next(job)
                seen.append(f"<{name}")
                return result

            return run

        return make

    assert compose([layer("a"), layer("b")], lambda job: job * 2)(4) == 8
    assert seen == ["a>", "b>", "<b", "<a"]


@pytest.mark.parametrize("path", ["no.such.layer", "tests.settings.TIME_ZONE"])
def test_a_bad_path_names_its_setting(path):
    with pytest.raises(ConfigurationError, match="MIDDLEWARE"):
        load_layers([path], "MIDDLEWARE")


def an_async_layer(call_next):
    async def run(job):
        return await call_next(job)

    return run


class AsyncLayer:
    def __init__(self, call_next):
        self.call_next = call_next

    async def __call__(self, job):
        return await self.call_next(job)


def a_yielding_layer(call_next):
    def run(job):
        yield call_next(job)

    return run


@pytest.mark.parametrize("layer", [an_async_layer, AsyncLayer, a_yielding_layer])
def test_a_layer_that_nobody_would_await_is_refused(layer):
    """Every job would be done without having run."""
    with pytest.raises(ConfigurationError, match="nobody would run it"):
        compose([layer], lambda job: job)


def test_an_async_layer_stands_around_a_coroutine_function():
    async def core(job):
        return job * 2

    assert asyncio.run(compose([an_async_layer], core)(4)) == 8


def in_a_thread(action):
    """Run in a thread of its own, whose connections are its own; return what it returned."""
    result = []
    thread = threading.Thread(target=lambda: result.append(action()))
    thread.start()
    thread.join(20)
    return result[0]


@pytest.mark.django_db(transaction=True)
class TestConnections:
    def run(self, max_age_s, *jobs):
        layer = DatabaseConnections(max_age_s)

        def action():
            seen = []
            for job in jobs:
                with contextlib.suppress(ZeroDivisionError):
                    job()
                layer.check_after()
                seen.append(connection.connection is not None)
            connections.close_all()
            return seen

        return in_a_thread(action)

    def query(self):
        Order.objects.count()

    def test_a_connection_is_kept_between_jobs(self):
        assert self.run(60.0, self.query, self.query) == [True, True]

    def test_one_that_is_too_old_is_closed(self):
        assert self.run(0.0, self.query) == [False]

    def test_a_transaction_left_open_is_closed_with_its_connection(self):
        def leave_open():
            transaction.atomic().__enter__()
            Order.objects.create(number=77)

        assert self.run(60.0, leave_open, self.query) == [False, True]
        assert not Order.objects.filter(number=77).exists()

    def test_autocommit_that_was_left_off_costs_no_later_job_its_rows(self):
        def switch_off():
            transaction.set_autocommit(False)
            self.query()
            raise ZeroDivisionError

        def write():
            Order.objects.create()

        assert self.run(60.0, switch_off, write) == [False, True]
        assert Order.objects.count() == 1

    def test_djangos_own_rule_by_choice(self):
        def query_and_end():
            self.query()
            connection.close_at = time.monotonic() - 1

        def query_and_keep():
            self.query()
            connection.close_at = time.monotonic() + 60

        assert self.run(None, query_and_keep, query_and_end) == [True, False]

    def test_a_job_that_fails_is_looked_after_too(self):
        def fail():
            transaction.atomic().__enter__()
            raise ZeroDivisionError

        assert self.run(60.0, fail) == [False]
