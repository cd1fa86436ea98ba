"""Events become rows: each once, in their order, whatever they hold and whoever dies."""

from __future__ import annotations

import logging
import sqlite3
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import pytest
from django.db import Error, connections, transaction
from django.utils.connection import ConnectionDoesNotExist

from django_sidekick import BaseJob
from django_sidekick.history import rows, store
from django_sidekick.history.arguments import Arguments
from django_sidekick.models import HistoryCursor, JobRecord
from django_sidekick.wire import event
from django_sidekick.wire.arguments import load
from tests.history.conftest import Mirror, outcome, raw


def at(seconds):
    return datetime.fromtimestamp(seconds, UTC)


def states(mirror):
    return dict(mirror.rows.order_by("jid").values_list("jid", "state"))


class SecretJob(BaseJob):
    redact = ("card",)

    def perform(self, order, card, *rest, pin=None): ...


def test_a_job_that_was_done_is_a_row_with_all_that_is_known(mirror):
    mirror.tell(outcome(queue="mail", args=[1, {"a": ["ü", None]}], kwargs={"force": True}, tags=["x", "y"]))
    mirror.write()

    row = mirror.row()
    assert (row.job_class, row.queue, row.state, row.worker, row.attempts) == ("J", "mail", "processed", "host:1:abc", 1)
    assert (row.args, row.kwargs, row.tags) == ([1, {"a": ["ü", None]}], {"force": True}, ["x", "y"])
    assert (row.created_at, row.enqueued_at, row.started_at) == (at(999), at(999.5), at(1000))
    assert row.finished_at == row.changed_at == at(1000.25)
    assert (row.wait_time, row.run_time) == (timedelta(seconds=0.5), timedelta(seconds=0.25))
    assert (row.error_class, row.error_message, row.scheduled_at) == ("", "", None)
    assert mirror.attempts.count() == 0


def test_failures_and_the_success_after_them_are_attempts_of_one_row(mirror):
    mirror.tell(outcome("retry", error=ValueError("one\ttwo\\\n"), at_s=1060.0))
    mirror.write()
    row = mirror.row()
    assert (row.state, row.error_class, row.error_message) == ("retry", "ValueError", "one\ttwo\\\n")
    assert (row.scheduled_at, row.finished_at, row.attempts) == (at(1060), None, 1)

    mirror.tell(outcome("retry", started_at_s=1060.0, error=KeyError("k"), at_s=1200.0, retry_count=0))
    mirror.tell(outcome(started_at_s=1200.0, retry_count=1))
    mirror.write()

    row = mirror.row()
    assert (row.state, row.error_class, row.attempts, row.finished_at) == ("processed", "", 3, at(1200.25))
    told = [(a.number, a.error_class, a.started_at, a.finished_at, bool(a.backtrace)) for a in mirror.attempts]
    assert told == [
        (1, "ValueError", at(1000), at(1000.25), True),
        (2, "KeyError", at(1060), at(1060.25), True),
        (3, "", at(1200), at(1200.25), False),
    ]


def test_a_retry_that_was_dropped_on_purpose_is_no_success(mirror):
    mirror.tell(outcome("retry", error=ValueError("x"), at_s=1060.0), outcome("discarded", started_at_s=1060.0, retry_count=0))
    mirror.write()

    assert (mirror.row().state, mirror.row().attempts) == ("discarded", 2)
    assert [(a.number, a.error_class) for a in mirror.attempts] == [(1, "ValueError")]


@pytest.mark.parametrize(("kind", "state"), [("done", "processed"), ("dead", "dead"), ("failed", "failed"), ("discarded", "discarded")])
def test_every_end_has_its_time(mirror, kind, state):
    mirror.tell(outcome(kind, error=None if kind == "done" else ValueError("x")))
    mirror.write()

    row = mirror.row()
    assert (row.state, row.finished_at) == (state, at(1000.25))


def test_events_of_one_batch_are_one_row(mirror):
    mirror.move("scheduled", 990.0, 1000.0)
    mirror.move("enqueued", 1000.0)
    mirror.tell(outcome("retry", error=ValueError("x"), at_s=1010.0), outcome(jid="b"))
    mirror.tell(outcome(started_at_s=1010.0, retry_count=0))
    mirror.write()

    assert states(mirror) == {"a": "processed", "b": "processed"}
    assert mirror.row().scheduled_at == at(1010)
    assert mirror.attempts.count() == 2


def test_events_of_one_job_in_many_batches_end_as_in_one(mirror):
    recorder = mirror.recorder()
    for tell in (
        lambda: mirror.move("scheduled", 990.0, 1000.0),
        lambda: mirror.move("enqueued", 1000.0),
        lambda: mirror.tell(outcome("dead", error=ValueError("x"))),
        lambda: mirror.move("enqueued", 1100.0, retry_count=-1, enqueued_at=1_100_000),
    ):
        tell()
        mirror.write(recorder)

    row = mirror.row()
    assert (row.state, row.finished_at, row.enqueued_at, row.scheduled_at) == ("enqueued", None, at(1100), at(1000))
    assert (row.error_class, row.started_at, row.changed_at) == ("ValueError", at(1000), at(1100))

    mirror.tell(outcome(started_at_s=1100.5, retry_count=-1))
    mirror.write(recorder)
    assert (mirror.row().state, mirror.row().attempts) == ("processed", 1)


def test_a_move_that_is_older_than_what_is_known_is_passed_over(mirror):
    mirror.tell(outcome())
    mirror.write()
    mirror.move("enqueued", 999.0)
    mirror.write()
    assert mirror.row().state == "processed"

    mirror.tell(outcome(jid="b"))
    mirror.move("discarded", 999.0, jid="b")
    mirror.write()
    assert mirror.row("b").state == "processed"


def test_outcomes_count_in_their_order_whatever_the_clocks_say(mirror):
    mirror.tell(outcome("retry", started_at_s=2000.0, error=ValueError("x"), at_s=2001.0))
    mirror.write()
    mirror.tell(outcome(started_at_s=1990.0, retry_count=0))
    mirror.write()

    assert mirror.row().state == "processed"


ODD = {
    "NUL": {"args": ["a\0b"], "tags": ["\0"], "class": "\0", "queue": "\0"},
    "lone surrogate": {"args": ["\ud800"], "kwargs": {"\udfff": 1}, "class": "\ud800"},
    "escaped backslash": {"args": ["\\u0000", "\\", "\n\t\r", "\x01\x7f"]},
    "huge number": {"args": [10**300, 1e300, -0.0]},
    "deep": {"args": [[[[[[[[[[[[]]]]]]]]]]]]},
    "long names": {"class": "C" * 1000, "queue": "q" * 1000, "tags": ["t" * 1000] * 300},
    "odd times": {"created_at": 1e300, "enqueued_at": -5, "retry_count": 10**30},
    "beyond printing": {"tags": [10**5000], "error_class": 10**5000},
    "odd kinds": {"created_at": "yesterday", "enqueued_at": [], "tags": "text", "queue": 5, "kwargs": [1], "retry_count": "x"},
    "times to come": {"created_at": 10**14, "enqueued_at": "2026-11-25T00:00:00Z"},
}


@pytest.mark.parametrize("fields", ODD.values(), ids=ODD)
def test_a_payload_of_any_kind_is_a_row(mirror, fields):
    mirror.tell(outcome(jid="before"), outcome(**fields), outcome("dead", jid="after", error=ValueError("\0\ud800"), **fields))
    recorder = mirror.write()

    assert set(states(mirror)) == {"before", "a", "after"}
    assert recorder.junk == 0
    row = mirror.row()
    assert row.args is not None
    if fields.get("class") == "C" * 1000:
        assert row.job_class == "C" * 255


def nested(levels):
    value = []
    for _ in range(levels - 1):
        value = [value]
    return value


UNREADABLE = {"long number": [10**5000], "long number inside": [{"a": [-(10**4300)]}], "deep": nested(102), "deep and wide": [[], nested(500)]}
READABLE = {"longest number": [10**4300 - 1], "deepest": nested(101), "digits": ["1" * 5000], "wide": [[[]] * 200]}


@pytest.mark.parametrize("args", UNREADABLE.values(), ids=UNREADABLE)
def test_arguments_that_nobody_could_read_again_are_left_out_of_the_row(mirror, args):
    mirror.tell(outcome(args=args), outcome(jid="b", kwargs={"x": args}), outcome("dead", jid="c", args=args, error=ValueError("x")))
    mirror.write()

    assert [(row.args, row.kwargs) for row in mirror.rows.all()] == [(None, None)] * 3


@pytest.mark.parametrize("args", READABLE.values(), ids=READABLE)
def test_arguments_that_are_just_not_too_long_or_too_deep_are_kept(mirror, args):
    mirror.tell(outcome(args=args))
    mirror.write()

    most = 32 if mirror.alias == "mariadb" else 101  # deeper is no JSON to MariaDB: left out there
    assert mirror.row().args == (None if args == nested(101) and most < 101 else args)


def test_arguments_that_only_the_database_refuses_are_left_out_of_the_row(mirror, monkeypatch):
    true_text = Arguments.text_of
    monkeypatch.setattr(Arguments, "text_of", staticmethod(lambda value: "{" if value == ["refused"] else true_text(value)))
    mirror.tell(outcome(jid="before"), outcome(args=["refused"]), outcome(jid="after"))
    recorder = mirror.write()

    assert set(states(mirror)) == {"before", "a", "after"}
    assert (mirror.row().args, recorder.junk) == (None, 0)


def test_a_row_that_the_database_refuses_in_any_form_keeps_no_other_from_being_written(mirror, monkeypatch, caplog):
    monkeypatch.setitem(rows.STATES, "failed", None if "sqlite" in mirror.alias else "x" * 17)
    mirror.tell(outcome(jid="before"), outcome("failed", error=ValueError("x")), outcome(jid="after"))
    recorder = mirror.write()

    assert set(states(mirror)) == {"before", "after"}
    assert recorder.junk == 1
    assert mirror.attempts.count() == 0


def test_an_event_of_which_we_fail_to_make_a_row_keeps_no_other_from_being_written(sqlite_mirror, monkeypatch):
    true_of = Arguments.of

    def of(self, payload, told=()):
        if payload["jid"] == "bad":
            raise RuntimeError("a fault of ours")
        return true_of(self, payload, told)

    monkeypatch.setattr(Arguments, "of", of)
    sqlite_mirror.tell(outcome(jid="before"), outcome(jid="bad"), outcome(jid="after"))
    recorder = sqlite_mirror.write()

    assert set(states(sqlite_mirror)) == {"before", "after"}
    assert recorder.junk == 1


def test_an_event_that_is_no_row_is_written_around_where_a_job_has_two_events(mirror, monkeypatch):
    """Each event by itself, and yet in one transaction: on PostgreSQL all of them go through one table."""
    monkeypatch.setitem(rows.STATES, "failed", None if "sqlite" in mirror.alias else "x" * 17)
    ends = outcome("retry", error=ValueError("x"), at_s=1.0), outcome("dead", error=KeyError("y"), retry_count=0)
    mirror.tell(outcome("failed", jid="bad", error=ValueError("x")), *ends, outcome(jid="after"))
    recorder = mirror.write()

    assert (states(mirror), recorder.junk) == ({"a": "dead", "after": "processed"}, 1)
    assert [(a.number, a.error_class) for a in mirror.attempts] == [(1, "ValueError"), (2, "KeyError")]


def test_jids_that_differ_in_case_or_in_an_accent_are_two_jobs(mirror):
    mirror.tell(*(outcome(jid=jid) for jid in ("order-a", "order-A", "order-ä")))
    mirror.tell(outcome("dead", jid="order-A", error=ValueError("x")))
    mirror.write()

    assert states(mirror) == {"order-a": "processed", "order-A": "dead", "order-ä": "processed"}
    assert [attempt.record_id for attempt in mirror.attempts.filter(record_id="order-A")] == ["order-A"]
    assert not mirror.attempts.filter(record_id="order-a").exists()


@pytest.mark.parametrize("jid", ["x" * 256, "\0", "\ud800"])
def test_a_jid_that_no_row_can_have_is_counted_and_told_once(mirror, jid, caplog):
    mirror.tell(outcome(jid=jid), outcome(jid=jid), outcome(jid="good"))
    recorder = mirror.write()

    assert states(mirror) == {"good": "processed"}
    assert recorder.junk == 2
    assert [r.levelname for r in caplog.records] == ["WARNING"]


def test_junk_in_the_stream_is_counted_and_passed_over(sqlite_mirror, caplog):
    sqlite_mirror.redis.xadd("sk:events", {"b": b"\xff\n\n"})
    sqlite_mirror.redis.xadd("sk:events", {"other": b"field"})
    sqlite_mirror.tell(outcome())
    recorder = sqlite_mirror.write()

    assert (sqlite_mirror.row().state, recorder.junk) == ("processed", 2)
    assert len(caplog.records) == 1


def test_the_stream_and_its_count_of_bytes_are_empty_when_all_is_written(sqlite_mirror):
    for number in range(60):
        sqlite_mirror.tell(*(outcome(jid=f"{number}-{more}") for more in range(20)))
    sqlite_mirror.write()

    assert sqlite_mirror.rows.count() == 1200
    assert sqlite_mirror.redis.exists("sk:events:bytes") == 0


def test_a_recorder_killed_between_its_commit_and_the_trim_writes_nothing_twice(mirror, monkeypatch):
    mirror.tell(outcome("retry", error=ValueError("x"), at_s=1.0))
    recorder = mirror.recorder()
    with monkeypatch.context() as patch:
        patch.setattr(recorder._stream, "remove", lambda *read: None)
        recorder.turn()
    recorder.resign()
    assert (mirror.redis.xlen("sk:events"), mirror.attempts.count()) == (1, 1)

    mirror.tell(outcome("retry", error=KeyError("y"), at_s=1.0, retry_count=0))
    mirror.write()

    assert [attempt.error_class for attempt in mirror.attempts] == ["ValueError", "KeyError"]
    assert mirror.redis.exists("sk:events:bytes") == 0


def test_of_two_recorders_one_writes(mirror):
    """Both lead for a moment: what the second has read is what the first has written."""
    one, other = mirror.recorder(), mirror.recorder()
    mirror.tell(outcome("retry", error=ValueError("x"), at_s=1.0))
    other._lease._leads_until = one._lease._leads_until = float("inf")
    other._cursor = other._store.cursor()
    read = other._stream.read()
    one.turn()
    other._stream.read = lambda after=None: read

    other.turn()

    assert mirror.attempts.count() == 1
    mirror.tell(outcome("retry", error=KeyError("x"), at_s=1.0, retry_count=0))
    del other._stream.read
    mirror.write(other)
    assert mirror.attempts.count() == 2


def test_a_recorder_that_falls_silent_in_its_transaction_holds_up_no_other_for_long(
    postgresql_alias, redis, sidekick_settings, django_db_blocker, monkeypatch
):
    """As one whose host has lost its power: nobody tells PostgreSQL, for whom its connection is open."""
    sidekick_settings(HISTORY_DATABASE=postgresql_alias, HISTORY_RETENTION=None)
    monkeypatch.setattr(store, "SILENT_S", 1)
    with django_db_blocker.unblock():
        mirror = Mirror(postgresql_alias, redis)
        mirror.clear()
        silent, other = (store.Store(postgresql_alias, "sk:events") for _ in range(2))
        old = silent.cursor()
        new = store.Cursor((1, 0), "")
        with pytest.raises(Error, match="idle-in-transaction"), transaction.atomic(using=postgresql_alias):
            assert silent._move(old, new)
            with ThreadPoolExecutor(1) as thread:
                assert thread.submit(lambda: (other._move(old, new), other.close())).result(30)[0]
            silent.cursor()
        silent.close()
        mirror.clear()


def test_the_second_recorder_waits_for_the_lease(sqlite_mirror):
    one, other = sqlite_mirror.recorder(), sqlite_mirror.recorder()
    sqlite_mirror.tell(outcome())
    assert one.turn() == 0.0
    sqlite_mirror.tell(outcome(jid="b"))

    assert other.turn() > 0
    assert sqlite_mirror.rows.count() == 1
    one.resign()
    assert other.turn() == 0.0
    assert sqlite_mirror.rows.count() == 2


def test_a_stream_that_began_anew_with_older_ids_is_read_from_its_beginning(sqlite_mirror):
    sqlite_mirror.tell(outcome())
    recorder = sqlite_mirror.write()
    sqlite_mirror.redis.flushall()
    sqlite_mirror.redis.xadd("sk:events", {"b": event.encode("w", [outcome("dead", jid="b", error=ValueError("x"))])}, id="5-1")
    sqlite_mirror.redis.xadd("sk:events", {"b": event.encode("w", [outcome("dead", jid="c", error=ValueError("x"))])}, id="5-2")

    sqlite_mirror.write(recorder)

    assert set(states(sqlite_mirror)) == {"a", "b", "c"}
    assert sqlite_mirror.attempts.count() == 2
    assert HistoryCursor.objects.using(sqlite_mirror.alias).get().position == "5-2"


def test_entries_that_a_restarted_redis_has_again_are_not_written_again(sqlite_mirror):
    sqlite_mirror.tell(outcome("dead", error=ValueError("x")))
    ((name, fields),) = sqlite_mirror.redis.xrange("sk:events")
    sqlite_mirror.write()
    sqlite_mirror.redis.delete("sk:events")
    sqlite_mirror.redis.xadd("sk:events", fields, id=name)

    sqlite_mirror.write()

    assert sqlite_mirror.attempts.count() == 1


def test_arguments_are_redacted_by_name_at_any_depth(mirror):
    name = SecretJob.name
    mirror.tell(
        outcome(**{"class": name}, args=[{"card": "4111", "at": [{"card": 1}]}, "4111", "x"], kwargs={"pin": {"card": 7}, "card": 9}),
        outcome(jid="b", args=["4111", "4111"]),
    )
    mirror.write()

    hidden = "[redacted]"
    assert mirror.row().args == [{"card": hidden, "at": [{"card": hidden}]}, hidden, "x"]
    assert mirror.row().kwargs == {"pin": {"card": hidden}, "card": hidden}
    assert mirror.row("b").args == ["4111", "4111"]


class ShortSecretJob(BaseJob):
    redact = ("card",)

    def perform(self, order, card): ...


def test_what_no_parameter_takes_is_hidden_where_a_class_redacts(sqlite_mirror):
    """Code of another version has pushed it: any of its values may be the secret one."""
    sqlite_mirror.tell(outcome(**{"class": ShortSecretJob.name}, args=[1, "4111", "4112"]))
    sqlite_mirror.write()

    assert sqlite_mirror.row().args == [1, "[redacted]", "[redacted]"]


def test_a_recorder_that_does_not_know_what_is_hidden_keeps_no_arguments(mirror):
    """It is of an older version than the worker, or of another project."""
    new, known = {"J": ["card"], ShortSecretJob.name: ["card", "pin"]}, {ShortSecretJob.name: ["card"]}
    mirror.tell(outcome(jid="plain"))
    mirror.append(event.encode("w", [outcome(jid="a"), outcome("retry", jid="b", error=ValueError())], new))
    mirror.append(event.encode("w", [outcome(jid="c", **{"class": ShortSecretJob.name}, args=[1, "4111"])], new))
    mirror.append(event.encode("w", [outcome(jid="d", **{"class": ShortSecretJob.name}, args=[1, "4111"])], known))
    mirror.append(event.encode_moves("enqueued", [raw(jid="e")], 1000.0, redact={raw(jid="e"): ["card"]}))
    mirror.write()

    found = {row.jid: (row.args, row.kwargs) for row in mirror.rows.all()}
    assert found.pop("plain") == ([1], {})
    assert found.pop("d") == ([1, "[redacted]"], {})
    assert found == dict.fromkeys("abce", (None, None))


class OthersSecretJob(BaseJob):
    redact = ("extra",)

    def perform(self, order, /, shop, **extra): ...


def decorated(perform):
    def wrapper(self, *args, **kwargs):
        return perform(self, *args, **kwargs)

    return wrapper


class DecoratedJob(BaseJob):
    redact = ("card",)

    @decorated
    def perform(self, order, card): ...


def test_what_lands_in_a_redacted_mapping_of_names_is_hidden(sqlite_mirror):
    sqlite_mirror.tell(outcome(**{"class": OthersSecretJob.name}, args=[1], kwargs={"shop": 2, "pin": "4111", "order": "4112"}))
    sqlite_mirror.write()

    assert (sqlite_mirror.row().args, sqlite_mirror.row().kwargs) == ([1], {"shop": 2, "pin": "[redacted]", "order": "[redacted]"})


def test_behind_a_decorator_that_hides_the_parameters_nothing_positional_is_shown(sqlite_mirror):
    sqlite_mirror.tell(outcome(**{"class": DecoratedJob.name}, args=[1, "4111"], kwargs={"order": 1, "card": "4111"}))
    sqlite_mirror.write()

    assert (sqlite_mirror.row().args, sqlite_mirror.row().kwargs) == (["[redacted]"] * 2, {"order": 1, "card": "[redacted]"})


GLOBAL_ID = {"_aj_globalid": "gid://shop/Order/1"}
UNREAD = [
    {"args": [{"arguments": [GLOBAL_ID, "4111"]}]},
    {"args": [{"arguments": [GLOBAL_ID, {"card": "4111", "_aj_ruby2_keywords": ["card"]}]}]},
    {"args": [{"arguments": [{"_aj_serialized": "ActiveJob::Serializers::DateSerializer", "value": "x"}, "4111"]}]},
    {"args": [{"arguments": [1, "4111"]}, "4111"]},
    {"args": ["4111"]},
    {"args": [], "kwargs": ["4111"]},
    {"class": SecretJob.name, "args": [], "kwargs": ["4111"]},
    {"class": SecretJob.name, "args": [], "kwargs": "4111"},
]


@pytest.mark.parametrize("fields", UNREAD)
def test_of_a_class_that_redacts_arguments_that_cannot_be_read_are_left_out(sqlite_mirror, fields):
    sqlite_mirror.tell(outcome(**{"class": "Sidekiq::ActiveJob::Wrapper", "wrapped": SecretJob.name, **fields}))
    sqlite_mirror.write()

    assert (sqlite_mirror.row().args, sqlite_mirror.row().kwargs) == (None, None)


def test_of_a_class_that_does_not_redact_such_arguments_are_kept_as_they_are(sqlite_mirror):
    inside = {"job_class": "MailJob", "arguments": [GLOBAL_ID, "4111"]}
    sqlite_mirror.tell(outcome(**{"class": "Sidekiq::ActiveJob::Wrapper", "wrapped": "MailJob"}, args=[inside]))
    sqlite_mirror.write()

    assert (sqlite_mirror.row().job_class, sqlite_mirror.row().args) == ("MailJob", [inside])


@pytest.mark.parametrize(("keys", "args"), [({"HISTORY_ARGUMENTS": False}, None), ({"HISTORY_ARGUMENTS_MAX_BYTES": 20}, None), ({"HISTORY_ARGUMENTS_MAX_BYTES": 50}, ["x" * 30])])
def test_arguments_are_left_out_if_they_are_not_to_be_kept_or_too_long(sqlite_mirror, sidekick_settings, keys, args):
    sidekick_settings(HISTORY_DATABASE=sqlite_mirror.alias, HISTORY_RETENTION=None, **keys)
    sqlite_mirror.tell(outcome(args=["x" * 30]))
    sqlite_mirror.write()

    assert (sqlite_mirror.row().args, sqlite_mirror.row().kwargs) == (args, None if args is None else {})


@pytest.mark.parametrize("kwargs", [None, {"x": 1}])
def test_the_size_of_arguments_is_that_of_their_bytes(sqlite_mirror, sidekick_settings, kwargs):
    sidekick_settings(HISTORY_DATABASE=sqlite_mirror.alias, HISTORY_RETENTION=None, HISTORY_ARGUMENTS_MAX_BYTES=50)
    sqlite_mirror.tell(outcome(args=["\u1ec7" * 12], kwargs=kwargs), outcome(jid="b", args=["\u1ec7" * 16], kwargs=kwargs))
    sqlite_mirror.write()

    assert [sqlite_mirror.row(jid).args for jid in "ab"] == [["\u1ec7" * 12], None]


def test_a_job_inside_active_jobs_wrapper_is_told_of_by_its_own_name(sqlite_mirror):
    inside = {"job_class": "MailJob", "arguments": [5, {"a": 1, "_aj_ruby2_keywords": ["a"]}]}
    sqlite_mirror.tell(outcome(**{"class": "Sidekiq::ActiveJob::Wrapper", "wrapped": "MailJob"}, args=[inside]))
    sqlite_mirror.write()

    row = sqlite_mirror.row()
    assert (row.job_class, row.args, row.kwargs) == ("MailJob", [5], {"a": 1})


def test_what_active_job_has_serialized_is_kept_as_we_would_write_it(sqlite_mirror):
    kinds = ({"Time": "2026-01-02T03:04:05Z"}, {"Date": "2026-01-02"}, {"BigDecimal": "0.25e1"})
    given = [{"_aj_serialized": f"ActiveJob::Serializers::{kind}Serializer", "value": v} for one in kinds for kind, v in one.items()]
    inside = {"job_class": "MailJob", "arguments": [1, *given]}
    sqlite_mirror.tell(outcome(**{"class": "Sidekiq::ActiveJob::Wrapper", "wrapped": "MailJob"}, args=[inside]))
    sqlite_mirror.write()

    kept = sqlite_mirror.row().args
    assert load(kept) == [1, datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC), date(2026, 1, 2), Decimal("2.5")]


def test_missing_tables_are_told_of_once_and_rows_follow(sqlite_mirror, caplog):
    caplog.set_level(logging.INFO)
    connection = connections[sqlite_mirror.alias]
    with connection.schema_editor() as editor:
        editor.delete_model(JobRecord)
    try:
        sqlite_mirror.tell(outcome("retry", error=ValueError("x"), at_s=1.0))
        recorder = sqlite_mirror.recorder()
        pauses = [recorder.turn() for _ in range(3)]
        assert min(pauses) > 0
        assert [r.levelname for r in caplog.records] == ["WARNING"]
        assert sqlite_mirror.attempts.count() == 0
        assert sqlite_mirror.stream.is_written(), "nobody is to wait for it"
    finally:
        with connections[sqlite_mirror.alias].schema_editor() as editor:
            editor.create_model(JobRecord)
    assert not sqlite_mirror.redis.exists("sk:recorder"), "another host may be able to"

    sqlite_mirror.write(recorder)

    assert (sqlite_mirror.row().state, sqlite_mirror.attempts.count()) == ("retry", 1)
    assert not sqlite_mirror.redis.exists("sk:events:stuck")
    assert "written again" in caplog.records[-1].message


def test_a_database_that_is_none_keeps_nobody_waiting(sqlite_mirror, sidekick_settings):
    sidekick_settings(HISTORY_DATABASE="nowhere")
    sqlite_mirror.tell(outcome())
    recorder = sqlite_mirror.recorder()
    for _ in range(2):
        with pytest.raises(ConnectionDoesNotExist):
            recorder.turn()
    assert sqlite_mirror.stream.is_written(), "nobody is to wait for it"
    assert b"nowhere" in sqlite_mirror.redis.get("sk:events:stuck")

    recorder._store.alias = sqlite_mirror.alias
    sidekick_settings(HISTORY_DATABASE=sqlite_mirror.alias, HISTORY_RETENTION=None)
    recorder._retention = sqlite_mirror.recorder()._retention
    sqlite_mirror.write(recorder)

    assert sqlite_mirror.row().state == "processed"
    assert not sqlite_mirror.redis.exists("sk:events:stuck")


def test_a_connection_that_was_cut_is_opened_again(postgresql_alias, redis, sidekick_settings, django_db_blocker):
    sidekick_settings(HISTORY_DATABASE=postgresql_alias, HISTORY_RETENTION=None)
    with django_db_blocker.unblock():
        mirror = Mirror(postgresql_alias, redis)
        mirror.clear()
        mirror.tell(outcome())
        recorder = mirror.write()
        with recorder._store.connection.cursor() as cursor:
            cursor.execute("SELECT pg_backend_pid()")
            (pid,) = cursor.fetchone()
        copy = connections[postgresql_alias].copy()
        with copy.cursor() as cursor:
            cursor.execute("SELECT pg_terminate_backend(%s)", [pid])
        copy.close()
        mirror.tell(outcome(jid="b"))
        mirror.write(recorder)
        assert mirror.rows.count() == 2
        mirror.clear()


def test_the_statements_of_each_writer_are_few_however_many_rows(mirror, django_assert_max_num_queries):
    mirror.tell(*(outcome(jid=f"{number:024x}") for number in range(250)))
    recorder = mirror.recorder()
    recorder._cursor = recorder._store.cursor()

    with django_assert_max_num_queries(10, using=mirror.alias):
        recorder.turn()

    assert mirror.rows.count() == 250


def test_a_sqlite_that_takes_few_parameters_gets_shorter_statements(sqlite_mirror):
    connection = connections[sqlite_mirror.alias]
    connection.ensure_connection()
    before = connection.connection.setlimit(sqlite3.SQLITE_LIMIT_VARIABLE_NUMBER, 999)
    try:
        sqlite_mirror.tell(*(outcome(jid=f"{number:024x}") for number in range(250)))
        sqlite_mirror.write()
        assert sqlite_mirror.rows.count() == 250
    finally:
        connection.connection.setlimit(sqlite3.SQLITE_LIMIT_VARIABLE_NUMBER, before)
