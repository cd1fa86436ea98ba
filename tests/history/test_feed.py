"""The stream read ahead: each blob once, in its order, from the beginning when the reader must look again."""

from __future__ import annotations

import pytest
from django.db import connections

from django_sidekick.broker.patience import Patience
from django_sidekick.conf import get_settings
from django_sidekick.history.arguments import Arguments
from django_sidekick.history.feed import Feed
from django_sidekick.history.writers import SQLiteWriter
from tests.history.conftest import outcome

ENOUGH = 10


@pytest.fixture
def feed(sqlite_mirror):
    junk = []
    stream = sqlite_mirror.stream
    made = Feed(stream, Patience(sqlite_mirror.redis), Arguments(get_settings(), {}), junk.append)
    made.junk, made.writer = junk, SQLiteWriter(connections[sqlite_mirror.alias])
    return made


def take(feed):
    return feed.take(feed.writer, ENOUGH)


def fill(mirror, blobs, events=4):
    for number in range(blobs):
        mirror.tell(*(outcome(jid=f"{number:03d}-{more}") for more in range(events)))


def positions(parts):
    return [blob.position for part in parts for blob in part.blobs]


def drained(feed, mirror):
    """Take all parts as the recorder does: what was taken goes out of the stream."""
    parts = []
    while part := take(feed):
        parts.append(part)
        mirror.stream.remove(part.blobs, part.generation)
    return parts


def test_parts_are_whole_blobs_of_about_so_many_events(sqlite_mirror, feed):
    fill(sqlite_mirror, 60)
    written = [name for name, _ in sqlite_mirror.redis.xrange("sk:events")]

    parts = drained(feed, sqlite_mirror)

    assert [b"%d-%d" % position for position in positions(parts)] == written
    assert {part.size for part in parts} <= {4, 8}
    assert sum(part.size for part in parts) == 240
    assert parts[0].prepared[0][1][0] == "000-0"


def test_a_blob_larger_than_a_part_is_one(sqlite_mirror, feed):
    fill(sqlite_mirror, 2, events=25)

    assert [part.size for part in drained(feed, sqlite_mirror)] == [25, 25]


def test_what_was_read_ahead_comes_again_after_a_new_start(sqlite_mirror, feed):
    fill(sqlite_mirror, 60)
    first = take(feed)
    take(feed)

    feed.start_over()

    assert take(feed).blobs[0] == first.blobs[0]


def test_another_stream_is_read_from_its_beginning(sqlite_mirror, feed):
    """FLUSHALL while parts are read ahead, and a clock that was set back: the ids are lower than those read."""
    fill(sqlite_mirror, 60)
    old = take(feed)
    feed._ahead.result()  # read between the two streams, it would be nothing, and the end
    content = sqlite_mirror.redis.xrange("sk:events", count=1)[0][1]
    sqlite_mirror.redis.flushall()
    for number in range(30):
        sqlite_mirror.redis.xadd("sk:events", content, id=f"5-{number + 1}")

    sqlite_mirror.stream.remove(old.blobs, old.generation)
    new = [part for part in drained(feed, sqlite_mirror) if part.generation != old.generation]

    assert positions(new) == [(5, number + 1) for number in range(30)]


def test_a_blob_that_is_none_is_taken_with_the_others(sqlite_mirror, feed):
    fill(sqlite_mirror, 1)
    sqlite_mirror.append(b"no blob")
    fill(sqlite_mirror, 1)

    parts = drained(feed, sqlite_mirror)

    assert (len(positions(parts)), len(feed.junk)) == (3, 1)
