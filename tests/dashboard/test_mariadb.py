"""The list over MariaDB: what the server reads for it."""

from __future__ import annotations

import pytest
from django.contrib import admin
from django.contrib.auth.models import User
from django.db import connections
from django.test import RequestFactory

from django_sidekick.dashboard import bounded
from django_sidekick.dashboard.recordlist import beginning
from django_sidekick.models import JobRecord
from tests.dashboard.records import many, record


@pytest.fixture
def rows(mariadb_alias, django_db_blocker, sidekick_settings):
    """2,000 rows that are there for all to see, and one of another class, with an error and an odd jid."""
    sidekick_settings(HISTORY_DATABASE=mariadb_alias)
    with django_db_blocker.unblock():
        many(2000, database=mariadb_alias)
        record("ffffff", database=mariadb_alias, job_class="B", error_class="E")
        with connections[mariadb_alias].cursor() as cursor:
            cursor.execute("ANALYZE TABLE django_sidekick_jobrecord")
            cursor.fetchall()
        yield JobRecord.objects.using(mariadb_alias)
        JobRecord.objects.using(mariadb_alias).all().delete()


@pytest.mark.parametrize(
    ("ask", "answer"),
    [
        (lambda rows: bounded.values_of("job_class", rows.db), ["B", "shop.jobs.CleanUp"]),
        (lambda rows: bounded.values_of("error_class", rows.db), ["E"]),
        (lambda rows: [row.jid for row in beginning(rows.all(), "ffffff")], ["ffffff"]),
    ],
)
def test_nothing_reads_the_whole_table(rows, ask, answer):
    with connections[rows.db].cursor() as cursor:
        cursor.execute("FLUSH STATUS")
        assert ask(rows) == answer
        cursor.execute("SHOW SESSION STATUS LIKE 'Handler_read%%'")
        assert sum(int(count) for _, count in cursor.fetchall()) < 50


def test_upwards_in_time_the_index_leads_too(rows):
    request = RequestFactory().get("/?o=3")
    request.user = User(is_superuser=True)

    found = admin.site._registry[JobRecord].get_changelist_instance(request).queryset[:2]

    assert [row.jid for row in found] == [f"{1999:024x}", f"{1998:024x}"]
    assert "filesort" not in found.explain()
