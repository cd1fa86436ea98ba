"""How soon a job starts: enqueued to an idle worker, beside a thread in BRPOP; scheduled, beside a bare timer."""

from __future__ import annotations

import contextlib
import sys
import tempfile
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

from benchmarks.common import Board, beside, quantile, raw_job, redis_client, until, worker
from benchmarks.jobs import Stamp

EVERY_S = 0.02
JOBS = 200
SCHEDULED = 100


def idle(_: int) -> dict[str, float]:
    """Milliseconds from before the enqueue call to the job's start: ours, and a bare LPUSH to a bare BRPOP."""
    return _idle("-q", "default")


def idle_three_queues(_: int) -> dict[str, float]:
    """The same with a worker that waits for three queues."""
    return _idle("-q", "high", "-q", "default", "-q", "low")


def scheduled(_: int) -> dict[str, float]:
    """Milliseconds a scheduled job starts after its time, and a thread that sleeps until then."""
    redis_client().flushall()
    with worker("-p", "1", "-c", "10"), _board(SCHEDULED) as board:
        first = time.time() + 1.0
        moments = [first + number * 0.0237 for number in range(SCHEDULED)]
        for number, moment in enumerate(moments):
            at = datetime.fromtimestamp(moment, UTC) + timedelta(0)
            Stamp.set(wait_until=at, enqueue="immediately").perform_later(board.path, number)
        timer = []
        for moment in moments:
            time.sleep(max(0.0, moment - time.time()))
            timer.append(time.time() - moment)
        until(board.is_full, "the scheduled jobs")
        offset = time.time() - time.monotonic()
        late = [at + offset - moment for at, moment in zip(board.read(), moments, strict=True)]
    return {
        f"{name}_p{share}_ms": quantile(values, share / 100) * 1000
        for name, values in (("timer", timer), ("worker", late))
        for share in (50, 90, 99)
    }


def _idle(*queues: str) -> dict[str, float]:
    """Both wait at once and have their turn one after the other: what the machine does, it does to both."""
    client = redis_client()
    client.flushall()
    with (
        worker("-p", "1", "-c", "10", *queues), _board(JOBS) as board,
        _board(JOBS) as bare_board, beside("-m", "benchmarks.latency", bare_board.path),
    ):  # fmt: skip
        until(lambda: any(one["cmd"] == "brpop" for one in client.client_list()), "the bare consumer")
        began, bare_began, raw = [], [], raw_job()
        for number in range(JOBS):
            began.append(time.monotonic())
            Stamp.set(enqueue="immediately").perform_later(board.path, number)
            time.sleep(EVERY_S)
            bare_began.append(time.monotonic())
            client.lpush("bare", raw)
            time.sleep(EVERY_S)
        until(lambda: board.is_full() and bare_board.is_full(), "the jobs")
        figures = {}
        for name, moments, places in (("bare", bare_began, bare_board), ("worker", began, board)):
            took = [(at - then) * 1000 for at, then in zip(places.read(), moments, strict=True)]
            figures |= {f"{name}_p{share}_ms": quantile(took, share / 100) for share in (50, 90, 99)}
    return figures


@contextlib.contextmanager
def _board(places: int) -> Iterator[Board]:
    with tempfile.TemporaryDirectory() as folder:
        yield Board(str(Path(folder) / "board"), places)


def _consume(path: str) -> None:
    """Be the bare consumer."""
    board, client = Board(path), redis_client()
    for number in range(JOBS):
        client.brpop(["bare"], 0)
        board.write(number, time.monotonic())


if __name__ == "__main__":
    import django

    django.setup()
    _consume(sys.argv[1])
