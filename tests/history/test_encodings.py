"""A database that an older server has made, whose encoding has few letters: what it has not is escaped or left out."""

from __future__ import annotations

import pytest
from django.core.management import call_command
from django.db import connections

from tests.history.conftest import Mirror, outcome
from tests.history.test_recorder import ODD, states


@pytest.fixture(params=["latin1", "utf8mb3"])
def old(request, mariadb_alias, redis, sidekick_settings, django_db_blocker):
    name = f"mirror_{request.param}"
    with django_db_blocker.unblock():
        with connections[mariadb_alias].cursor() as cursor:
            cursor.execute(f"CREATE OR REPLACE DATABASE {name} CHARACTER SET {request.param}")
        connections.settings[name] = {**connections.settings[mariadb_alias], "NAME": name}
        connections.settings = connections.configure_settings(connections.settings)
        call_command("migrate", "django_sidekick", database=name, verbosity=0)
        sidekick_settings(HISTORY_DATABASE=name, HISTORY_RETENTION=None)
        yield Mirror(name, redis)
        connections[name].close()
        del connections.settings[name]


def test_letters_that_the_database_has_not_are_escaped(old):
    old.tell(outcome("dead", error=ValueError("không 😀")), outcome(jid="b", tags=["😀"], args=["😀"]))
    recorder = old.write()

    assert (states(old), recorder.junk) == ({"a": "dead", "b": "processed"}, 0)
    assert old.row().error_message == r"kh\xf4ng \U0001f600"
    assert (old.row("b").tags, old.row("b").args) == (["😀"], ["😀"])


def test_a_payload_of_any_kind_is_a_row_there_too(old):
    for name, fields in ODD.items():
        old.tell(outcome("dead", jid=name, error=ValueError("\0\ud800 😀"), **fields))
    recorder = old.write()

    assert (set(states(old)), recorder.junk) == (set(ODD), 0)


def test_a_jid_of_such_letters_holds_up_no_other(old):
    old.tell(outcome(jid="a"))
    old.move("dead", 1000.0, jid="😀")
    old.tell(outcome(jid="b"))
    old.write()

    assert {"a", "b"} <= set(states(old))
