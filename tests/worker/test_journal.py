from __future__ import annotations

import os
import struct
import threading

import pytest

from django_sidekick.worker import journal
from django_sidekick.worker.journal import Finished, Journal


@pytest.fixture
def made(tmp_path):
    return Journal(tmp_path / "run" / "a:1:b.journal", slots=3, window=10)


def test_it_says_what_runs_and_what_has_finished(made):
    made.since[0], made.tags[0] = 5.0, 256
    made.since[2], made.tags[2] = 7.0, 512
    made.mark_finished(512, 1000.5, 0.25)

    entries = journal.read(made.path)
    assert [(began.slot, began.tag, began.since) for began in entries.running] == [(0, 256, 5.0)]
    assert entries.finished == {512: Finished(512, 1000.5, 0.25)}
    assert [began.tag for began in made.running()] == [256, 512]


def test_it_is_readable_by_its_user_alone(made):
    assert made.path.stat().st_mode & 0o777 == 0o600
    assert made.path.parent.stat().st_mode & 0o777 == 0o700


def test_the_ring_is_at_least_twice_the_window():
    assert [journal._ring_length(n) for n in (1, 2048, 2049, 5000)] == [4096, 4096, 8192, 16384]


def test_the_newest_entries_stay(made):
    count = made.ring_length + 100
    for number in range(1, count + 1):
        made.mark_finished(number * 256, 1.0, 2.0)

    assert set(journal.read(made.path).finished) == {n * 256 for n in range(101, count + 1)}


def test_threads_mark_at_once(made):
    def mark(first):
        for number in range(first, 4001, 4):
            made.mark_finished(number, 0.0, 0.0)

    threads = [threading.Thread(target=mark, args=(first,)) for first in (1, 2, 3, 4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)

    assert set(journal.read(made.path).finished) == set(range(1, 4001))


@pytest.mark.parametrize("content", [b"", b"x" * 63, b"x" * 10_000, struct.pack("<24sqq", b"sidekick-journal-1", 3, 9**9)])
def test_what_is_no_journal_says_nothing(tmp_path, content):
    (tmp_path / "odd").write_bytes(content)

    assert journal.read(tmp_path / "odd") == ((), {})
    assert journal.read(tmp_path / "none") == ((), {})


def test_a_killed_process_leaves_all_it_said(tmp_path):
    path = tmp_path / "killed.journal"
    pid = os.fork()
    if pid == 0:
        written = Journal(path, 2, 10)
        written.tags[1] = 77
        written.mark_finished(78, 1.0, 2.0)
        os.kill(os.getpid(), 9)
    os.waitpid(pid, 0)

    entries = journal.read(path)
    assert ([b.tag for b in entries.running], list(entries.finished)) == ([77], [78])


def test_it_moves_with_its_process(made, tmp_path):
    made.tags[0] = 9
    made.move_to(tmp_path / "run" / "new")
    made.tags[1] = 10

    assert [b.tag for b in journal.read(tmp_path / "run" / "new").running] == [9, 10]
    made.remove()
    made.remove()
    assert list((tmp_path / "run").iterdir()) == []
