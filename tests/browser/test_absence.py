"""Redis away, tables missing: the pages say so at once and show what is left."""

from __future__ import annotations

from functools import partial

from django.db import connection

from tests.browser.stock import jid
from tests.browser.test_pages import PAGES
from tests.conftest import free_port, in_time


def test_with_redis_away_each_page_says_so_within_a_second(visit, stock, sidekick_settings):
    visitor = visit()
    visitor.open("overview")  # styles and scripts are here
    sidekick_settings(REDIS=f"redis://127.0.0.1:{free_port()}/0")

    for name, *rest in PAGES:
        page = in_time(partial(visitor.open, name, *rest), 1.5)  # a second for the answer, the rest for the browser
        if name != "records":  # it shows the mirror alone
            assert page.get_by_role("alert").filter(has_text="is away").is_visible(), name
        assert visitor.complaints() == [], name


def test_with_the_mirrors_tables_missing_each_page_shows_what_redis_holds(visit, stock):
    visitor = visit()
    models = [model for model in connection.introspection.django_table_names(only_existing=True) if model.startswith("django_sidekick_")]
    with connection.schema_editor() as editor:
        for table in models:
            editor.execute(f"ALTER TABLE {table} RENAME TO away_{table}")
    try:
        for name, *rest in PAGES:
            visitor.open(name, *rest)
            assert visitor.complaints() == [], name
        visitor.open("retries")
        assert visitor.row(jid(101)).count() == 1
        visitor.mark(jid(101))
        visitor.press("retry_now")
        assert "1 job" in visitor.said()
    finally:
        with connection.schema_editor() as editor:
            for table in models:
                editor.execute(f"ALTER TABLE away_{table} RENAME TO {table}")
