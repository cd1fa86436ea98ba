"""What only a server with connections of its own can show."""

from __future__ import annotations

import threading
import time

import pytest
from django.db import DatabaseError, connections, transaction

from django_sidekick import BaseJob
from django_sidekick.jobs import connections as job_connections
from django_sidekick.jobs.execute import Executor
from django_sidekick.wire.outcome import Delivery
from tests.app.jobs import NoopJob
from tests.app.models import Order
from tests.conftest import wait_until
from tests.test_middleware import in_a_thread

pytestmark = pytest.mark.usefixtures("redis")


@pytest.fixture(autouse=True)
def database(postgresql_alias, django_db_blocker):
    with django_db_blocker.unblock():
        Order.objects.using(postgresql_alias).delete()
        yield connections[postgresql_alias]


class BackendJob(BaseJob):
    """Note which of the server's processes serves this thread; be cut off from it if asked."""

    seen: list[int] = []

    def perform(self, *, cut: bool = False) -> None:
        with connections["postgresql"].cursor() as cursor:
            cursor.execute("SELECT pg_backend_pid()")
            self.seen.append(cursor.fetchone()[0])
            if cut:
                cursor.execute("SELECT pg_terminate_backend(pg_backend_pid())")


class HalfWayJob(BaseJob):
    """Leave a transaction open, as a job that was interrupted does."""

    def perform(self) -> None:
        transaction.atomic(using="postgresql").__enter__()
        Order.objects.using("postgresql").create(state="never")


def run(executor, job_class, **kwargs):
    job_class.set(enqueue="immediately").perform_later(**kwargs)
    from django_sidekick.broker.broker import get_broker

    raw = get_broker().client.rpop("queue:default")
    return executor(Delivery(1, "default", raw))


def idle(seconds):
    """Let time pass in this thread."""
    until = time.monotonic() + seconds
    wait_until(lambda: time.monotonic() > until, "time to pass")


def cut_off(database, pid):
    """End one of the server's processes from outside."""
    with database.cursor() as cursor:
        cursor.execute("SELECT pg_terminate_backend(%s)", [pid])
        wait_until(lambda: cursor.execute("SELECT 1 FROM pg_stat_activity WHERE pid = %s", [pid]) or not cursor.fetchall(), "its end")


def test_a_connection_that_is_cut_while_the_worker_idles_costs_no_job(sidekick_settings, database, monkeypatch):
    monkeypatch.setattr(job_connections, "IDLE_S", 0.05)
    executor, BackendJob.seen = Executor(sidekick_settings()), []

    def jobs():
        kinds = [run(executor, BackendJob).kind]
        in_a_thread(lambda: (cut_off(connections["postgresql"], BackendJob.seen[0]), connections["postgresql"].close()))
        idle(0.05)
        kinds += [run(executor, BackendJob).kind for _ in range(2)]
        connections["postgresql"].close()
        return kinds

    assert in_a_thread(jobs) == ["done", "done", "done"]
    first, second, third = BackendJob.seen
    assert first != second == third


def test_a_busy_thread_asks_the_server_for_nothing_but_its_jobs(sidekick_settings, monkeypatch):
    monkeypatch.setattr(job_connections, "IDLE_S", 60.0)  # a machine that stands still makes no thread idle
    executor, BackendJob.seen = Executor(sidekick_settings()), []

    def jobs():
        run(executor, BackendJob)
        connection = connections["postgresql"]
        connection.is_usable = pytest.fail
        kinds = [run(executor, BackendJob).kind for _ in range(3)]
        connection.close()
        del connection.is_usable
        return kinds

    assert in_a_thread(jobs) == ["done"] * 3


def test_a_connection_that_aged_while_the_worker_idled_is_closed_before_the_next_job(sidekick_settings):
    executor, BackendJob.seen = Executor(sidekick_settings(WORKER_CONN_MAX_AGE=0.3)), []

    def jobs():
        run(executor, BackendJob)
        idle(0.3)
        run(executor, BackendJob)
        connections["postgresql"].close()

    in_a_thread(jobs)
    first, second = BackendJob.seen
    assert first != second


def test_a_job_that_is_cut_off_in_its_run_is_retried_and_the_next_one_has_a_new_connection(sidekick_settings):
    executor, BackendJob.seen = Executor(sidekick_settings()), []

    def jobs():
        kinds = [run(executor, BackendJob, cut=cut).kind for cut in (False, False, True, False)]
        connections["postgresql"].close()
        return kinds

    assert in_a_thread(jobs) == ["done", "done", "retry", "done"]
    first, second, third, fourth = BackendJob.seen
    assert first == second == third != fourth


def test_an_open_transaction_ends_with_its_job(sidekick_settings, database):
    executor = Executor(sidekick_settings())

    def jobs():
        outcome = run(executor, HalfWayJob)
        link = connections["postgresql"]
        return outcome.kind, link.in_atomic_block, link.connection

    assert in_a_thread(jobs) == ("done", False, None)
    assert Order.objects.using("postgresql").count() == 0

    def is_any_left():
        with database.cursor() as cursor:
            cursor.execute("SELECT count(*) FROM pg_stat_activity WHERE state LIKE 'idle in transaction%'")
            return cursor.fetchone() != (0,)

    wait_until(lambda: not is_any_left(), "the server to see that the connection was closed")


def test_a_job_sees_the_row_that_its_transaction_wrote(redis):
    with transaction.atomic(using="postgresql"):
        order = Order.objects.using("postgresql").create()
        job = NoopJob.set(using="postgresql").perform_later(order.pk)
        assert (job.enqueued, redis.llen("queue:default")) == (None, 0)

    assert (job.enqueued, redis.llen("queue:default")) == (True, 1)


def test_roll_backs_and_savepoints(redis):
    later = NoopJob.set(using="postgresql").perform_later
    with transaction.atomic(using="postgresql"):
        later("outer")
        with pytest.raises(DatabaseError), transaction.atomic(using="postgresql"):
            later("savepoint")
            connections["postgresql"].cursor().execute("SELECT 1 / 0")
        with transaction.atomic(using="postgresql"):
            later("nested")

    with pytest.raises(RuntimeError), transaction.atomic(using="postgresql"):
        later("never")
        raise RuntimeError

    assert [raw[raw.index(b'"args"') :].split(b"]")[0] for raw in redis.lrange("queue:default", 0, -1)] == [
        b'"args":["nested"',
        b'"args":["outer"',
    ]


def test_a_deferred_constraint_that_fails_the_commit_enqueues_nothing(redis, database):
    with database.cursor() as cursor:
        cursor.execute("CREATE TEMP TABLE odd (n int UNIQUE DEFERRABLE INITIALLY DEFERRED)")
    try:
        with pytest.raises(DatabaseError), transaction.atomic(using="postgresql"):
            database.cursor().execute("INSERT INTO odd VALUES (1), (1)")
            NoopJob.set(using="postgresql").perform_later()
    finally:
        database.cursor().execute("DROP TABLE odd")

    assert redis.keys("*") == []


def test_two_threads_commit_each_their_own(redis):
    barrier = threading.Barrier(2, timeout=15)

    def order(number, fails):
        try:
            with transaction.atomic(using="postgresql"):
                NoopJob.set(using="postgresql").perform_later(number)
                barrier.wait()
                if fails:
                    raise RuntimeError
        except RuntimeError:
            pass
        finally:
            connections["postgresql"].close()

    threads = [threading.Thread(target=order, args=(n, n == 1)) for n in (0, 1)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(15)

    assert redis.llen("queue:default") == 1
    assert b'"args":[0]' in redis.lindex("queue:default", 0)


def test_an_old_connection_is_closed_after_its_age(sidekick_settings):
    executor, BackendJob.seen = Executor(sidekick_settings(WORKER_CONN_MAX_AGE=0)), []
    in_a_thread(lambda: [run(executor, BackendJob) for _ in range(2)])

    first, second = BackendJob.seen
    assert first != second
