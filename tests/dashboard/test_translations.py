from __future__ import annotations

import gettext
import json
import re
import time
from collections import Counter
from datetime import timedelta
from pathlib import Path
from urllib.parse import quote

import django
import pytest
from babel.messages.catalog import Catalog
from babel.messages.mofile import read_mo, write_mo
from babel.messages.pofile import read_po
from django.contrib.admin.models import LogEntry
from django.urls import reverse
from django.utils import translation

from tests.conftest import free_port
from tests.dashboard.catalogue import LOCALE, PLACEHOLDERS, catalogue, in_the_code, messages_of
from tests.dashboard.live import IDENTITY, beat, enqueue, job, run
from tests.dashboard.reading import read, unmarked
from tests.dashboard.records import JID, attempt, record
from tests.dashboard.sets import fill
from tests.dashboard.test_figures import count

LANGUAGES = sorted(folder.name for folder in LOCALE.iterdir())
DJANGO = Path(django.__file__).parent
DATA = {"HardJob", "low", "high", "wild", "host", "shop", "blue", "ValueError", "shop.jobs.CleanUp", "nobody"}
SAME = {"UTC", "MiB", "KiB", "Sidekick", "Ngày", "tháng", "năm"}
"""Words of the scene; and what no catalogue has: units, a name, Django's format of a date."""

VI = {"accept-language": "vi"}


@pytest.fixture(autouse=True)
def the_tests_language():
    """A request's language stays with its thread: give the next test the one it knows."""
    yield
    translation.deactivate()


@pytest.fixture
def scene(redis, destroyer):
    """Something in each place that a page can show."""
    enqueue(redis, *[job(f"{n:024x}", tags=["wild"]) for n in range(120)])
    enqueue(redis, "no job", queue="high")
    redis.sadd("paused", "high")
    beat(redis, rss=1, quiet="true")
    redis.lpush(f"{IDENTITY}-signals", "TERM", "TSTP", "TTIN")
    beat(redis, "host:13:abcdefabcdef", queues=("wild",), embedded=True, ago_s=40)
    run(redis, job("b" * 24))
    for name in ("retry", "schedule", "dead"):
        fill(redis, name, range(110), error_backtrace=None)
    redis.zadd("retry", {job("c" * 24, error_class="ValueError", error_message="m" * 300): time.time() + 100})
    count(redis, "HardJob", 5, 1, 2.0)
    kept = record(state="failed", error_class="ValueError", error_message="m", attempts=2, wait_time=timedelta(hours=30), run_time=timedelta(milliseconds=3), tags=["wild"], worker="host")
    kept.created_at = kept.enqueued_at = kept.started_at = kept.finished_at = kept.changed_at
    kept.save()
    attempt(kept, 1, backtrace="Traceback", started_at=kept.changed_at, worker="host")
    attempt(kept, 2, error_class="", error_message="")
    record("d" * 24, error_class="ValueError", args=None)


def page(name, *args, query=""):
    return reverse(f"admin:{name}", args=args) + query


LIST = page("django_sidekick_jobrecord_changelist")
QUEUE = page("sidekick_queue", "low")
PAGES = [
    page("sidekick_overview"), page("sidekick_overview", query="?days=7"),
    page("sidekick_queues"), page("sidekick_queues", query="?q=none"), QUEUE, f"{QUEUE}?q=HardJob&queue=low", f"{QUEUE}?p=2",
    page("sidekick_queue", "high"), page("sidekick_queue", "wild"),
    page("sidekick_busy"), page("sidekick_busy", query=f"?process={quote(IDENTITY)}&class=HardJob"), page("sidekick_busy", query="?q=none"),
    page("sidekick_retries"), page("sidekick_retries", query="?q=HardJob&error=ValueError"), page("sidekick_retries", query="?q=none"),
    page("sidekick_scheduled"), page("sidekick_dead"), page("sidekick_dead", query="?p=2"),
    page("sidekick_processes"), page("sidekick_processes", query="?q=none"),
    page("sidekick_metrics"), page("sidekick_metrics", query="?q=none"), page("sidekick_metrics", query="?minutes=480&o=class"),
    page("sidekick_search"), page("sidekick_search", query="?q=ValueError"), page("sidekick_search", query="?q=jidjid"),
    page("sidekick_job", JID), page("sidekick_job", "d" * 24), page("sidekick_job", "b" * 24), page("sidekick_job", "c" * 24),
    page("sidekick_job", f"{100:024x}"), page("sidekick_job", "0" * 24), page("sidekick_job", "nobody"),
    LIST, f"{LIST}?state=failed&class=shop.jobs.CleanUp&q=a", f"{LIST}?time=today", f"{LIST}?q=none",
]  # fmt: skip

MEANT = {"_selected_action": [JID]}
FORMS = [
    (QUEUE, {"action": "clear"}), (QUEUE, {"action": "pause"}), (QUEUE, {"action": "pause", "twice": "1"}), (QUEUE, {"action": "delete"}),
    (QUEUE, {"action": "clear", "post": "yes"}), (f"{QUEUE}?q=HardJob", {"action": "delete", "select_across": "1", "post": "yes"}),
    (page("sidekick_queue", "high"), {"action": "resume"}),
    (page("sidekick_queues"), {"action": "pause"}), (page("sidekick_overview"), {}),
    (page("sidekick_processes"), {"action": "stop", "select_across": "1"}), *[(page("sidekick_processes"), {"action": "quiet", "select_across": "1", **yes}) for yes in ({}, {"post": "yes"})],
    (page("sidekick_processes"), {"action": "stop", "select_across": "1", "post": "yes"}),
    (page("sidekick_processes"), {"action": "stop", "_selected_action": ["host:13:abcdefabcdef"]}), (page("sidekick_processes"), {"action": "stop"}),
    *[(page("sidekick_retries"), {"action": name, "select_across": "1"}) for name in ("retry_now", "kill", "delete", "clear")],
    *[(page("sidekick_retries"), {"action": name, "select_across": "1", "post": "yes"}) for name in ("retry_now", "kill", "delete", "clear")],
    (page("sidekick_retries"), {"action": "reschedule", "select_across": "1"}), (page("sidekick_retries"), {"action": "kill", "_selected_action": ["gone"], "post": "yes"}),
    (page("sidekick_retries"), {"action": "kill", "errand": "old"}), (page("sidekick_retries"), {"action": "kill"}),
    (page("sidekick_scheduled"), {"action": "reschedule", "select_across": "1", "post": "yes", "at": "2040-01-01 00:00:00"}),
    (page("sidekick_dead", query="?q=none"), {"action": "delete", "select_across": "1"}),
    *[(LIST, {"action": name, **MEANT}) for name in ("retry_now", "run_again", "kill", "delete")],
    *[(page("sidekick_job", JID), {"action": name, "post": "yes"}) for name in ("kill", "run_again", "reschedule")],
    *[(page("sidekick_job", "c" * 24), {"action": name, "post": "yes"}) for name in ("kill", "retry_now", "delete")],
    (page("sidekick_job", "d" * 24), {"action": "run_again"}), (page("sidekick_job", "c" * 24), {"action": "kill"}),
]  # fmt: skip


@pytest.fixture
def bracketed(settings, tmp_path):
    """A Vietnamese that is English in ⟦brackets⟧, of Django's texts too."""
    files = [catalogue("vi")]
    for path in (DJANGO / "conf", DJANGO / "contrib/admin", DJANGO / "contrib/auth"):
        with (path / "locale/en/LC_MESSAGES/django.po").open("rb") as file:
            files.append(read_po(file, locale="en"))
    strange = Catalog(locale="vi")
    for message in (message for file in files for message in file if message.id):
        many = message.id[-1] if isinstance(message.id, tuple) else message.id
        said = f"⟦{many}⟧" if re.search("[A-Za-z]{2}", many) else many
        strange.add(message.id, (said,) if isinstance(message.id, tuple) else said, context=message.context)
    folder = tmp_path / "vi/LC_MESSAGES"
    folder.mkdir(parents=True)
    with (folder / "django.mo").open("wb") as file:
        write_mo(file, strange)
    settings.LOCALE_PATHS = [str(tmp_path)]


def english_on(html):
    """Return the words that nobody has marked, beside the scene's own."""
    text, attributes = read(html)
    assert "⟦" in text
    left = [word for part in (text, *attributes) for word in re.findall(r"[^\W\d_][\w.]+", unmarked(part))]
    return sorted({word for word in left if word not in DATA | SAME and not re.fullmatch(r"[0-9a-f]{5,}|m+|am|pm|a\.m\.|p\.m\.", word)})


def send(client, form):
    url, fields = form
    for _time in range(1 + ("twice" in fields)):
        answer = client.post(url, fields, follow=True, headers=VI)
    assert answer.status_code == 200
    return answer.content.decode()


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_catalogue_has_each_text_of_the_code_and_no_other(language):
    assert set(messages_of(catalogue(language))) == set(in_the_code())


@pytest.mark.parametrize("language", LANGUAGES)
def test_each_text_is_translated(language):
    messages = catalogue(language)

    assert not messages.obsolete
    assert [message.id for message in messages if message.id and message.fuzzy] == []
    assert [message for message, said in messages_of(messages).items() if not all(map(str.strip, said))] == []


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_translation_has_the_placeholders_of_its_text(language):
    for message, said in messages_of(catalogue(language)).items():
        held = [Counter(PLACEHOLDERS.findall(form)) for form in said]
        wanted = [Counter(PLACEHOLDERS.findall(text)) for text in (message.singular, message.plural or message.singular)]
        assert held[-1] == wanted[-1], message
        assert all(form in wanted for form in held), message


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_compiled_catalogue_is_the_one_that_is_read(language):
    with (LOCALE / language / "LC_MESSAGES/django.mo").open("rb") as file:
        assert messages_of(read_mo(file)) == messages_of(catalogue(language))


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_text_that_django_has_too_is_translated_as_django_does(language):
    """All apps share one catalogue: ours would change the words of the whole admin."""
    ours = messages_of(catalogue(language))
    plain = {message.singular: said[0] for message, said in ours.items() if message.context is None and message.plural is None}

    for path in DJANGO.glob(f"**/locale/{language}/LC_MESSAGES/django.mo"):
        with path.open("rb") as file:
            theirs = gettext.GNUTranslations(file)
        for text, said in plain.items():
            assert theirs.gettext(text) in (said, text), path


@pytest.mark.parametrize("url", PAGES)
def test_every_word_of_a_page_can_be_translated(scene, bracketed, client, url):
    answer = client.get(url, headers=VI, follow=True)

    assert answer.status_code == 200
    assert english_on(answer.content.decode()) == []


@pytest.mark.parametrize("form", FORMS, ids=lambda form: f"{form[0]} {' '.join(map(str, form[1].values()))}")
def test_every_word_of_a_confirmation_and_of_a_message_can_be_translated(scene, bracketed, client, form):
    assert english_on(send(client, form)) == []


def test_every_word_of_the_page_of_progress_can_be_translated(scene, bracketed, client, monkeypatch):
    monkeypatch.setattr("django_sidekick.dashboard.errandpage.LONGEST_TURN_S", 0.0)

    html = send(client, (page("sidekick_retries"), {"action": "kill", "select_across": "1", "post": "yes"}))

    assert "data-continue" in html
    assert english_on(html) == []


@pytest.mark.parametrize("stuck", ["", "no rows"])
def test_every_word_of_a_history_that_is_behind_can_be_translated(scene, bracketed, redis, client, stuck):
    redis.xadd("sk:events", {"e": "x"})
    redis.mset({"sk:events:dropped": 4321, "sk:events:stuck": stuck, "sk:events:bytes": 2**30})

    html = client.get(page("sidekick_overview"), headers=VI).content.decode()

    assert "sk-behind" in html
    assert set(english_on(html)) <= set(stuck.split())


@pytest.mark.parametrize("url", PAGES)
def test_a_page_in_vietnamese_shows_no_english_text_of_ours(scene, client, url):
    text, attributes = read(client.get(url, headers=VI, follow=True).content.decode())
    shown = {part.strip() for part in [*re.split(r"\n|·", text), *attributes]}

    foreign = [m for m, said in messages_of(catalogue("vi")).items() if said[0] != m.singular]
    assert [m.singular for m in foreign if m.singular in shown or m.plural in shown] == []


def test_the_language_is_that_of_the_request(scene, client):
    vietnamese = client.get(page("sidekick_retries"), headers=VI).content.decode()
    english = client.get(page("sidekick_retries"), headers={"accept-language": "en"}).content.decode()

    assert "Thử lại ngay" in vietnamese and "Lần thử tới" in vietnamese
    assert "Retry now" in english and "Next try" in english


def test_english_needs_no_catalogue_where_vietnamese_is_the_projects_language(scene, settings, client):
    settings.LANGUAGE_CODE = "vi"

    html = client.get(page("sidekick_retries"), headers={"accept-language": "en"}).content.decode()

    assert "Retry now" in html
    assert "Thử lại" not in html


def test_numbers_are_grouped_as_vietnamese_does(redis, client, viewer):
    """The live numbers too: a browser's own grouping differs from Django's in some languages."""
    redis.set("stat:processed", 1_234_567)

    whole = client.get(page("sidekick_overview"), headers=VI)
    live = client.get(page("sidekick_overview", query="?live=1"), headers=VI)

    assert "1.234.567" in whole.content.decode()
    assert live.json()["shown"]["processed"] == "1.234.567"
    assert live.json()["numbers"]["processed"] == 1_234_567


def test_live_parts_come_in_the_language_of_the_page(scene, client):
    answer = client.get(page("sidekick_queues", query="?live=1"), headers=VI)

    assert "Hàng đợi" in json.loads(answer.content)["parts"]["sk-queues"]


def test_what_a_driver_itself_says_stays_english_in_a_vietnamese_page(client, viewer, sidekick_settings):
    sidekick_settings(REDIS=f"redis://127.0.0.1:{free_port()}/0")

    html = client.get(page("sidekick_overview"), headers=VI).content.decode()

    assert "Không kết nối được Redis tại 127.0.0.1" in html
    assert "Error 111" in html
    assert "is away" not in html
    assert "Tổng quan" in html


def test_the_log_of_an_act_has_its_english_name(scene, client):
    send(client, (QUEUE, {"action": "pause"}))

    assert LogEntry.objects.get().change_message == "pause"
