from __future__ import annotations

import os
import struct
import threading

import pytest

from django_sidekick.exceptions import ConfigurationError
from django_sidekick.wire.outcome import Delivery, Outcome
from django_sidekick.worker import journal
from django_sidekick.worker.journal import Finished, Journal
from django_sidekick.worker.options import Sizes
from django_sidekick.worker.slots import Slots


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


def test_all_of_it_has_its_place_on_the_disk(made):
    """Else a full disk would be found out by a write into the map: SIGBUS, and the jobs are to blame for it."""
    status = made.path.stat()
    assert status.st_blocks * 512 >= status.st_size > 90_000


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


def test_it_goes_on_in_a_new_file_when_the_old_one_is_gone(made, tmp_path):
    slots = Slots(Sizes(3, 0), made, lambda outcome: None)
    end = slots.end
    slots.begin(0, Delivery(256, "default", b""), 1.0)
    made.path.unlink()
    made.move_to(tmp_path / "run" / "new")
    slots.follow()
    slots.begin(1, Delivery(512, "default", b""), 2.0)
    slots.begin(2, Delivery(768, "default", b""), 2.0)
    end(2, Outcome("done", Delivery(768, "default", b""), None, 5.0, 6.0))

    entries = journal.read(tmp_path / "run" / "new")
    assert [began.tag for began in entries.running] == [256, 512]
    assert entries.finished == {768: Finished(768, 5.0, 6.0)}
    assert journal.is_held(tmp_path / "run" / "new")


def test_it_is_held_until_its_process_ends_whoever_reads_it(made, tmp_path):
    path = tmp_path / "run" / "other"
    told, tell = os.pipe()
    pid = os.fork()
    if pid == 0:
        kept = Journal(path, 1, 10)
        if os.fork() == 0:
            os._exit(0)
        os.wait()
        os.write(tell, b"made")
        threading.Event().wait(kept.ring_length)
    os.read(told, 4)
    journal.read(path)
    try:
        assert journal.is_held(path)
    finally:
        os.kill(pid, 9)
        os.waitpid(pid, 0)

    assert not journal.is_held(path)
    journal.remove_free(path)
    journal.remove_free(path)
    journal.remove_free(made.path)
    assert list((tmp_path / "run").iterdir()) == [made.path]


class TestSlots:
    def test_what_carries_nothing_but_its_event_is_marked(self, made):
        slots = Slots(Sizes(3, 0), made, lambda outcome: None)
        for tag, outcome in enumerate(
            [
                Outcome("done", Delivery(1, "q", b"")),
                Outcome("discarded", Delivery(2, "q", b"")),
                Outcome("discarded", Delivery(3, "q", b""), error=ValueError()),
                Outcome("failed", Delivery(4, "q", b""), error=ValueError()),
                Outcome("done", Delivery(5, "q", b""), follow_ups=("something",)),
            ],
            start=1,
        ):
            slots.begin(0, outcome.delivery, float(tag))
            slots.end(0, outcome)

        assert {tag: entry.kind for tag, entry in journal.read(made.path).finished.items()} == {1: "done", 2: "discarded"}

    def test_a_job_is_handed_over_before_its_slot_is_free(self, made):
        seen = []
        slots = Slots(Sizes(3, 0), made, lambda outcome: seen.append(slots.running[0]))
        delivery = Delivery(256, "default", b"")
        slots.begin(0, delivery, 1.0)
        slots.end(0, Outcome("done", delivery))

        assert (seen, slots.running[0]) == ([delivery], None)


class TestDirectory:
    def test_one_that_others_may_write_to_is_refused(self, tmp_path):
        (tmp_path / "open").mkdir()
        (tmp_path / "open").chmod(0o777)
        with pytest.raises(ConfigurationError, match="RUNTIME_DIR.*mode 777"):
            Journal(tmp_path / "open" / "a", 1, 1)

    @pytest.mark.skipif(os.getuid() != 0, reason="only root can give a directory away")
    def test_one_of_another_user_is_refused(self, tmp_path):
        (tmp_path / "theirs").mkdir(0o700)
        os.chown(tmp_path / "theirs", 4321, -1)
        (tmp_path / "link").symlink_to(tmp_path)
        os.chown(tmp_path / "link", 4321, -1, follow_symlinks=False)
        for name in ("theirs", "link"):
            with pytest.raises(ConfigurationError, match="must belong to the user"):
                journal.make_directory(tmp_path / name)
