from __future__ import annotations

import re
from datetime import timedelta
from urllib.parse import quote

import pytest
from django.db import connections
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from django_sidekick.dashboard import bounded, recordlist
from django_sidekick.models import JobRecord
from tests.dashboard.records import JID, many, record

pytestmark = pytest.mark.django_db(databases="__all__")
LIST = "/admin/django_sidekick/jobrecord/"
HOSTILE = "<script>alert('x')</script>\"&javascript:"


def opened(client, query=""):
    answer = client.get(LIST + query)
    assert answer.status_code == 200
    answer.text_of = answer.content.decode()
    return answer


def jids(answer):
    return [row.jid for row in answer.context["cl"].result_list]


def test_the_list_shows_each_job_with_its_facts_and_links_its_page(history, client, viewer):
    record(
        database=history, state="dead", attempts=3, error_class="ValueError", error_message="no such order",
        wait_time=timedelta(milliseconds=12), run_time=timedelta(seconds=2.5), kwargs={"force": True},
    )  # fmt: skip

    text = opened(client).text_of

    for shown in ("shop.jobs.CleanUp", "1, force=True", "low", "12 ms", "2.5 s", "ValueError", "no such order", "1 job"):
        assert shown in text
    assert f'href="{reverse("admin:sidekick_job", args=[JID])}"' in text
    assert '<span class="sk-state sk-state-dead">dead</span>' in text
    assert "Redis only" in text


def test_the_index_links_the_list_and_an_own_site_links_its_own_pages(client, viewer):
    record()

    assert f'href="{LIST}"' in client.get("/admin/").content.decode()
    assert f"/own/django_sidekick/live/job/{JID}/" in client.get("/own/django_sidekick/jobrecord/").content.decode()


def test_a_long_class_breaks_at_its_dots_in_the_filter_too(history, client, viewer):
    record(database=history)

    (answer,) = re.findall(r'<a href="\?class=shop.jobs.CleanUp">(.*?)</a>', opened(client).text_of)
    assert "shop.<wbr>jobs.<wbr></span>CleanUp" in answer


def test_who_may_not_see_jobs_sees_no_list(client, staff):
    assert client.get(LIST).status_code == 302
    staff()
    assert client.get(LIST).status_code == 403


@pytest.mark.parametrize("path", ["add/", f"{JID}/delete/"])
def test_history_is_read_only(client, admin_client, path):
    record()

    assert admin_client.post(LIST + path, {"post": "yes"}).status_code in (403, 404)
    assert JobRecord.objects.count() == 1


def test_a_row_of_the_admin_leads_to_the_jobs_page(client, viewer):
    assert client.get(f"{LIST}{JID}/change/").headers["Location"] == reverse("admin:sidekick_job", args=[JID])


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("", "abcd"),
        ("?state=dead", "ab"),
        ("?class=B", "bd"),
        ("?error=E1", "ab"),
        ("?queue=high", "ad"),
        ("?state=dead&class=B", "b"),
        ("?state=dead&class=B&queue=low&error=E1", "b"),
        ("?error=E1&queue=high", "a"),
        ("?time=hour", "ab"),
        ("?time=week", "abc"),
        ("?time=month&class=B", "b"),
        ("?state=nonsense", ""),
        ("?class=" + "%00", ""),
        ("?time=nonsense", "abcd"),
    ],
)
def test_filters_narrow_together(history, client, viewer, query, found):
    record("a", database=history, state="dead", job_class="A", queue="high", error_class="E1")
    record("b", database=history, ago=timedelta(minutes=1), state="dead", job_class="B", error_class="E1")
    record("c", database=history, ago=timedelta(days=2), state="retry", job_class="A", error_class="E2")
    record("d", database=history, ago=timedelta(days=60), state="processed", job_class="B", queue="high")

    assert jids(opened(client, query)) == list(found)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("00ff00ff", ["00ff00ff1", "00ff00ff2"]),
        ("00ff00ff2", ["00ff00ff2"]),
        ("odd jid", ["odd jid"]),
        ("ODD J", []),
        ("cleanup", ["00ff00ff1", "00ff00ff2", "odd jid"]),
        ("no such order", ["00ff00ff1"]),
        ("ValueErr", ["00ff00ff1"]),
        ("Việt", ["odd jid"]),
        ('say "hi"', ["odd jid"]),
        ("100%", []),
        ("forced", ["00ff00ff2"]),
    ],
)
def test_a_search_finds_jids_first_and_then_words(history, client, viewer, text, found):
    record("00ff00ff1", database=history, error_class="ValueError", error_message="No such order")
    record("00ff00ff2", database=history, ago=timedelta(minutes=1), kwargs={"forced": True})
    record("odd jid", database=history, ago=timedelta(minutes=2), args=["Việt Nam", 'say "hi"'])

    assert jids(client.get(LIST, {"q": text})) == found


@pytest.mark.parametrize(("term", "found"), [("", {"00ff00ff1", "odd jid"}), ("00ff00", {"00ff00ff1"}), ("odd jid", {"odd jid"})])
def test_a_field_that_completes_itself_finds_jids(client, viewer, term, found):
    record("00ff00ff1")
    record("odd jid")
    asked = {"app_label": "django_sidekick", "model_name": "jobattempt", "field_name": "record", "term": term}

    assert {job["id"] for job in client.get("/admin/autocomplete/", asked).json()["results"]} == found


def test_a_job_is_chosen_in_a_pop_up_as_any_object_is(client, viewer):
    """The admin's own script asks for the attribute."""
    record()

    text = opened(client, "?_popup=1&_to_field=jid&state=processed").text_of

    assert f'data-popup-opener="{JID}"' in text and 'href="?_popup=1"' in text
    assert "data-popup-opener" not in opened(client).text_of


def test_a_search_goes_on_within_the_filters(history, client, viewer):
    record("00ff00ff1", database=history, state="dead")
    record("00ff00ff2", database=history)

    assert jids(client.get(LIST, {"q": "00ff00ff", "state": "dead"})) == ["00ff00ff1"]
    assert jids(client.get(LIST, {"q": "cleanup", "state": "dead"})) == ["00ff00ff1"]


def test_what_no_index_finds_is_looked_for_among_the_newest_and_that_is_said(history, client, viewer, monkeypatch):
    monkeypatch.setattr(bounded, "WINDOW", 10)
    monkeypatch.setattr(bounded.window, "__defaults__", (10,))
    many(30, database=history)
    JobRecord.objects.using(history).filter(jid=f"{25:024x}").update(queue="rare", args=["rare"])

    for query in ("?queue=rare", "?q=rare"):
        answer = opened(client, query)
        assert jids(answer) == []
        assert "Only the newest 10 jobs are looked through." in answer.text_of
    assert "looked through" not in opened(client, "?state=processed").text_of


def test_a_jid_that_begins_too_many_is_cut_and_that_is_said(client, viewer, monkeypatch):
    monkeypatch.setattr(recordlist, "MOST_JIDS", 5)
    many(10)

    answer = opened(client, "?q=000000")

    assert len(jids(answer)) == 5
    assert "Only the first 5 jobs that begin so are shown." in answer.text_of


def test_more_rows_than_are_counted_are_said_to_be_more(history, client, viewer, monkeypatch):
    monkeypatch.setattr(bounded, "MOST_COUNTED", 200)
    many(250, database=history)

    answer = opened(client)

    # PostgreSQL's ANALYZE of another test is not undone by its rollback.
    assert "more than 200 jobs" in answer.text_of or history == "postgresql"
    assert "?p=2" in answer.text_of and "?p=3" not in answer.text_of
    assert "e=1" in client.get(LIST + "?p=3").headers["Location"]


def test_postgresql_knows_about_how_many_rows_there_are(history, client, viewer, monkeypatch):
    monkeypatch.setattr(bounded, "MOST_COUNTED", 20)
    many(250, database=history)
    if history == "postgresql":
        with connections[history].cursor() as cursor:
            cursor.execute("ANALYZE django_sidekick_jobrecord")

    text = opened(client).text_of

    assert ("about 250 jobs" in text) == (history == "postgresql")
    assert "more than 20 jobs" in opened(client, "?state=processed").text_of


def test_no_query_of_the_list_counts_or_reads_the_whole_table(history, client, viewer):
    many(300, database=history, error_class="E")

    with CaptureQueriesContext(connections[history]) as queries:
        opened(client)

    asked = [query["sql"] for query in queries if "django_sidekick_jobrecord" in query["sql"]]
    assert len(asked) <= 8
    for sql in asked:
        assert "LIMIT" in sql, sql
        assert "DISTINCT" not in sql or history == "mariadb"  # which steps: test_mariadb.py
        assert "COUNT(*)" not in sql or "FROM (SELECT" in sql


def test_the_choices_of_a_filter_are_found_by_steps_through_the_index(history):
    for number in range(40):
        record(f"{number}", database=history, job_class=f"C{number % 4}", error_class=f"E{number % 3}" if number % 2 else "", queue=f"q{number % 2}")

    assert bounded.values_of("job_class", history) == ["C0", "C1", "C2", "C3"]
    assert bounded.values_of("error_class", history) == ["E0", "E1", "E2"]
    assert bounded.values_of("queue", history) == ["q0", "q1"]


def test_filters_use_the_index_that_was_made_for_them(history):
    many(2000, database=history)
    JobRecord.objects.using(history).filter(jid__lt=f"{50:024x}").update(error_class="E", state="dead", job_class="A")
    if history == "postgresql":
        with connections[history].cursor() as cursor:
            cursor.execute("ANALYZE django_sidekick_jobrecord")
    rows = JobRecord.objects.using(history)

    for column, value, index in (("error_class", "E", "error"), ("state", "dead", "state"), ("job_class", "A", "class")):
        newest = bounded.window(bounded.leading(rows.all(), column, value), 10)[0]
        plan = bounded.beside(newest, "queue", "low").order_by("-changed_at", "-jid")[:5].explain()
        assert f"sk_job_{index}" in plan


def test_a_class_that_no_newer_job_has_is_found_by_its_own_index(postgresql_alias, db, client, viewer, sidekick_settings):
    """Common as it is, PostgreSQL would look for its newest job among all that are newer."""
    sidekick_settings(HISTORY_DATABASE=postgresql_alias)
    many(3000, database=postgresql_alias)
    JobRecord.objects.using(postgresql_alias).filter(jid__gte=f"{1000:024x}").update(job_class="Old", state="dead")
    with connections[postgresql_alias].cursor() as cursor:
        cursor.execute("ANALYZE django_sidekick_jobrecord")

    for query in ("?class=Old", "?class=Old&o=2", "?state=dead", "?state=dead&o=-2"):
        answer = opened(client, query)
        assert jids(answer)[0] == f"{2999 if query[-3:] == 'o=2' else 1000:024x}"
        assert "sk_job_changed" not in answer.context["cl"].queryset[:100].explain()


def test_an_order_puts_what_is_not_known_last(history, client, viewer):
    record("a", database=history, run_time=timedelta(seconds=1))
    record("b", database=history, run_time=None)
    record("c", database=history, run_time=timedelta(seconds=3))
    column = opened(client).context["cl"].list_display.index("run_time")

    assert jids(opened(client, f"?o=-{column}")) == ["c", "a", "b"]
    assert jids(opened(client, f"?o={column}")) == ["a", "c", "b"]


@pytest.mark.parametrize(
    "query",
    ["?changed_at__year=²", "?changed_at__year=٢٠٢٦", "?changed_at__year=2026&changed_at__month=1&changed_at__year=1", "?changed_at__gte=0001-01-01T00:00:00%2B14:00",
     "?changed_at__lt=9999-12-31T23:59:59-14:00", "?changed_at__gte=٠٠٠١-01-01", "?args__contains=1", "?run_time__gt=1", "?jid=a", "?changed_at__month=3", "?changed_at__year=9999", "?changed_at__year=x", "?password=1"],
)
def test_a_hand_made_filter_that_would_read_the_whole_table_is_refused(client, viewer, query):
    record()

    assert client.get(LIST + query).status_code == 400


@pytest.mark.parametrize("query", ["?changed_at__year=2026&changed_at__month=13", "?changed_at__year=2026&changed_at__day=31", "?changed_at__year=2026&changed_at__day=²", "?changed_at__gte=x", "?p=abc&o=99.x", "?p=77", "?q=%00"])
def test_odd_queries_are_no_errors(client, viewer, query):
    record()

    assert client.get(LIST + query).status_code in (200, 302)


NAMES = ["q", "p", "o", "e", "all", "state", "queue", "class", "error", "time", "_popup", "_to_field", "_facets", "_changelist_filters",
         "changed_at__year", "changed_at__month", "changed_at__day", "changed_at__gte", "changed_at__lt", "changed_at", "jid", "args__0", ""]  # fmt: skip
VALUES = ["", "0", "1", "-1", "2", "31", "13", "2026", "02026", "9998", "9999", "10000", "²", "٣", "1e9", "-", "--1", "1.-1", ".", "-1.2.3.4.5.6.-7.99", "9" * 5000, "\0", "\ud800", "nan",
          "2026-02-31", "2026-13-01T00:00", "0001-01-01", "2026-01-01 00:00+99:99", "dead", "today", "hour", "%", "_", "\\", "\"'", "00ff00", "jid", "x" * 60_000, "\u202e", "1_0", " 5 ", "True"]  # fmt: skip
FUZZED = hypothesis_settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])


@FUZZED
@given(st.lists(st.tuples(st.sampled_from(NAMES), st.one_of(st.sampled_from(VALUES), st.text(max_size=8))), max_size=5))
def test_no_query_is_an_error(history, client, viewer, fields):
    """Whoever may look can ask for anything: it is shown, refused, or led back to the list; never a 500."""
    if not JobRecord.objects.using(history).exists():
        record("00ff00ff1", database=history, state="dead", error_class="E")
        record("00ff00ff2", database=history, ago=timedelta(days=40))
    query = "&".join(f"{quote(name)}={quote(value, errors='surrogatepass')}" for name, value in fields)

    assert client.get(f"{LIST}?{query}").status_code in (200, 302, 400)


def test_the_date_hierarchy_leads_through_the_days_there_can_be(history, client, viewer, settings):
    settings.USE_TZ = True
    first = record("a", database=history, ago=timedelta(days=400)).changed_at
    last = record("b", database=history).changed_at

    years = opened(client)
    days = opened(client, f"?changed_at__year={last.year}&changed_at__month={last.month}&changed_at__day={last.day}")

    assert f"changed_at__year={first.year}" in years.text_of
    assert jids(days) == ["b"]
    assert f"?changed_at__month={last.month}&amp;changed_at__year={last.year}" in days.text_of
    assert f"changed_at__day={last.day}" in opened(client, f"?changed_at__year={last.year}&changed_at__month={last.month}").text_of


def test_hostile_rows_are_shown_and_escaped(history, client, viewer):
    record(
        HOSTILE[:200], database=history, job_class=HOSTILE, queue=HOSTILE, args=None, kwargs=None, tags=HOSTILE,
        error_class=HOSTILE, error_message=HOSTILE * 100, state="odd", worker=HOSTILE,
    )  # fmt: skip
    record("b", database=history, args={"no": "list"}, kwargs=[1], tags=5, job_class="", queue="")
    record("c", database=history, args=[[[[[["\u202e\ufffd"]]]]], 1e308, 10**30], error_class="\u0007")

    text = opened(client).text_of

    assert "<script>alert" not in text
    assert "&lt;script&gt;" in text
    assert len(jids(opened(client, "?class=%3Cscript%3E"))) == 0


def test_missing_tables_are_said(client, viewer, sidekick_settings):
    sidekick_settings(HISTORY_DATABASE="other")
    with connections["other"].cursor() as cursor:
        cursor.execute("ALTER TABLE django_sidekick_jobrecord RENAME TO elsewhere")

    text = opened(client).text_of

    assert "tables are missing in the database “other”: run manage.py migrate" in text
