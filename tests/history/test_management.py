"""Django's own commands over a project that has the app: nothing of it is in their way."""

from __future__ import annotations

import io
import json

import pytest
from django.contrib.auth.models import Permission
from django.contrib.contenttypes.models import ContentType
from django.core.management import call_command
from django.db import connections
from django.utils import timezone

from django_sidekick.models import JobAttempt, JobRecord
from testproject.database import sqlite

MODELS = {"jobrecord", "jobattempt", "historycursor", "live"}
RIGHTS = {"view_jobrecord", "operate_jobs", "destroy_jobs"}


@pytest.fixture
def fresh(tmp_path, django_db_setup, django_db_blocker):
    """The alias of a new database, migrated as a new project migrates it."""
    connections.settings["fresh"] = sqlite(tmp_path / "db.sqlite3")
    connections.settings = connections.configure_settings(connections.settings)
    with django_db_blocker.unblock():
        call_command("migrate", database="fresh", run_syncdb=True, verbosity=0)
        yield "fresh"
        connections["fresh"].close()
        del connections["fresh"], connections.settings["fresh"]


def dumped(*labels, **options):
    out = io.StringIO()
    call_command("dumpdata", *labels, database="fresh", stdout=out, **options)
    return json.loads(out.getvalue())


def remember():
    now = timezone.now().replace(microsecond=123_000)  # a dump keeps milliseconds, and says none where there are none
    row = JobRecord.objects.using("fresh").create(jid="a", job_class="J", queue="q", state="dead", args=None, changed_at=now)
    JobAttempt.objects.using("fresh").create(record=row, number=1, finished_at=now)


def known():
    """The names of the app's models and permissions, as the database has them."""
    types = ContentType.objects.using("fresh").filter(app_label="django_sidekick")
    rights = Permission.objects.using("fresh").filter(content_type__app_label="django_sidekick")
    return set(types.values_list("model", flat=True)), set(rights.values_list("codename", flat=True))


@pytest.mark.parametrize("labels", [["django_sidekick"], []])
@pytest.mark.parametrize("options", [{}, {"use_base_manager": True}, {"use_natural_foreign_keys": True}])
def test_what_was_dumped_is_loaded_again(fresh, labels, options):
    remember()
    rows = dumped(*labels, **options)

    assert {row["model"] for row in rows} >= {"django_sidekick.jobrecord", "django_sidekick.jobattempt"}
    assert "django_sidekick.live" not in {row["model"] for row in rows}
    file = connections["fresh"].settings_dict["NAME"].with_name("dump.json")
    file.write_text(json.dumps(rows))
    JobRecord.objects.using("fresh").all().delete()
    call_command("loaddata", str(file), database="fresh", verbosity=0)

    assert JobRecord.objects.using("fresh").get().attempt_set.using("fresh").count() == 1
    assert dumped("django_sidekick") == [row for row in rows if row["model"].startswith("django_sidekick.")]


def test_models_and_permissions_are_known_and_stay_after_a_flush(fresh):
    assert known() == (MODELS, RIGHTS)
    remember()
    call_command("flush", database="fresh", interactive=False, verbosity=0)
    assert known() == (MODELS, RIGHTS)
    assert not JobRecord.objects.using("fresh").exists()
    assert "django_sidekick_live" not in connections["fresh"].introspection.table_names()


def test_migrations_are_up_to_date(db):
    call_command("makemigrations", "django_sidekick", check=True, dry_run=True, verbosity=0)
