"""The shop over HTTP: what its views enqueue and refuse, and what its jobs do."""

from __future__ import annotations

import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from PIL import Image

from testproject.customer import Customer, picture
from tests.testproject.conftest import ROOT

REGIONS = 5046


def test_an_order_enqueues_its_jobs_with_its_commit(shop, customer):
    number = customer.order("buyer@example.com")

    assert shop.rows("SELECT id, email, state FROM shop_order") == [(number, "buyer@example.com", "open")]
    assert shop.waiting() == ["ConfirmOrderJob", "QuoteJob"]
    assert [job["args"] for job in shop.queue("mail")] == [[number]]


def test_cleaning_up_waits_until_tomorrow_noon_and_for_a_week(shop, customer):
    number = customer.order("buyer@example.com")

    (first, noon_s), (second, week_s) = shop.members("schedule")
    noon = datetime.fromtimestamp(noon_s, ZoneInfo("Asia/Ho_Chi_Minh"))
    assert (noon.hour, noon.minute, noon.second) == (12, 0, 0)
    assert timedelta(0) < noon - datetime.now(UTC) < timedelta(hours=36)
    assert abs(week_s - time.time() - 7 * 24 * 3600) < 60
    assert (first["args"], first.get("kwargs")) == ([number], None)
    assert (second["args"], second["kwargs"]) == ([number], {"force": True})


def test_a_rolled_back_order_enqueues_nothing(shop, customer, redis):
    assert customer.order_what_is_sold_out() == 409

    assert shop.rows("SELECT count(*) FROM shop_order") == [(0,)]
    assert redis.keys("*") == []


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"product": "1"},
        {"email": "buyer@example.com"},
        {"product": "1", "email": "no address"},
        {"product": "99999", "email": "buyer@example.com"},
        {"product": "1' OR 1=1", "email": "buyer@example.com"},
        {"product": "1", "email": "buyer@example.com\nBcc: all@example.com"},
        {"product": "1", "email": "buyer\0@example.com"},
        {"product": "1", "email": "buyer@example.com", "region": "nowhere"},
        {"product": "9" * 400, "email": "buyer@example.com"},
        {"product": "1", "email": "b" * 10_000 + "@example.com"},
    ],
    ids=lambda fields: "-".join(fields) or "empty",
)
def test_a_bad_order_is_shown_again_and_enqueues_nothing(shop, customer, redis, fields):
    status, page, _ = customer.send("/orders/", fields)

    assert (status, "errorlist" in page) == (400, True)
    assert shop.rows("SELECT count(*) FROM shop_order") == [(0,)]
    assert redis.keys("*") == []


@pytest.mark.parametrize("path", ["/orders/1234567/", f"/orders/{10**40}/", "/orders/x/", "/nothing/"])
def test_an_unknown_page_is_404(customer, path):
    assert customer.request(path)[0] == 404


@pytest.mark.parametrize("verb", ["picture", "quote", "close"])
def test_a_button_of_an_unknown_order_is_404(customer, redis, verb):
    assert customer.send(f"/orders/{10**40}/{verb}/", {})[0] == 404
    assert redis.keys("*") == []


@pytest.mark.parametrize("path", ["/orders/", "/regions/", "/orders/1/close/"])
def test_what_changes_something_is_not_asked_for_with_get(customer, path):
    assert customer.request(path)[0] == 405


def test_a_form_without_its_token_is_refused(shop, customer):
    customer._token = "forged"

    assert customer.send("/regions/", {})[0] == 403
    assert shop.waiting() == []


def test_what_customers_write_is_escaped(shop, customer):
    number = customer.order('"<b>"@example.com')

    assert "<b>" not in customer.request(f"/orders/{number}/")[1]


@pytest.mark.parametrize("query", ["", "?order=", "?order=x", "?order=-1"])
def test_the_carrier_asks_which_order(customer, query):
    assert customer.request(f"/carrier/quote/{query}")[0] == 400


def test_the_pages_for_people_are_there(shop, customer):
    number = customer.order("buyer@example.com")

    assert "Teapot, brown" in customer.request("/")[1]
    assert "buyer@example.com" in customer.request(f"/orders/{number}/")[1]
    assert customer.request("/admin/")[0] == 200


@pytest.mark.parametrize(
    "content",
    [b"", b"<script>alert(1)</script>", picture(8, 8) + b"\0" * 5_000_000],
    ids=["empty", "no picture", "too large"],
)
def test_a_bad_picture_is_refused(shop, customer, content):
    number = customer.order("buyer@example.com")

    status, page, _ = customer.upload(number, content)

    assert (status, "errorlist" in page) == (400, True)
    assert "ThumbnailJob" not in shop.waiting()


def test_a_picture_is_kept_under_a_name_of_ours(shop, customer):
    number = customer.order("buyer@example.com")

    assert customer.upload(number, picture(8, 8), "../../evil.html")[0] == 200

    [(name,)] = shop.rows("SELECT picture FROM shop_order")
    assert name.startswith("pictures/picture")
    assert name.endswith(".png")


def test_the_jobs_of_an_order_run(shop, customer):
    number = customer.order("buyer@example.com")
    customer.send_picture(number)

    shop.drain()

    [(state, thumbnail)] = shop.rows("SELECT state, thumbnail FROM shop_order")
    assert (state, shop.mailbox.mails, shop.waiting()) == ("confirmed", 1, [])
    with Image.open(shop.folder / "media" / thumbnail) as made:
        assert (made.format, made.size) == ("JPEG", (128, 96))
    assert customer.request(f"/media/{thumbnail}")[0] == 200


def test_the_carrier_fails_now_and_then_and_the_job_comes_again(shop, customer):
    for _ in range(3):
        customer.order("buyer@example.com")

    shop.drain()

    [(job, _)] = shop.members("retry")
    assert job["class"].endswith("QuoteJob")
    assert (job["retry_count"], job["error_class"]) == (0, "HTTPError")
    assert shop.rows("SELECT count(*) FROM shop_order WHERE shipping_cents IS NULL") == [(1,)]

    for _ in range(2):  # the carrier may be out of order for it once more
        shop.make_due("retry")
        shop.drain()

    assert shop.members("retry") == []
    assert shop.rows("SELECT count(*) FROM shop_order WHERE shipping_cents IS NULL") == [(0,)]


def test_what_is_scheduled_closes_the_order_when_its_time_has_come(shop, customer):
    customer.order("buyer@example.com")
    shop.drain()

    shop.make_due("schedule")
    shop.drain()

    assert shop.rows("SELECT state FROM shop_order") == [("closed",)]
    assert shop.members("schedule") == []


def test_an_order_is_closed_by_its_button(shop, customer):
    number = customer.order("buyer@example.com")
    customer.close(number)

    assert "INFO sidekick.job.CleanUpOrderJob" in shop.drain()

    assert shop.rows("SELECT state FROM shop_order") == [("closed",)]


def test_a_picture_that_cannot_be_read_is_given_up_at_once(shop, customer):
    number = customer.order("buyer@example.com")
    assert customer.upload(number, picture(800, 600)[:200])[0] == 200

    shop.drain()

    assert not [job for job, _ in shop.members("retry") if job["class"].endswith("ThumbnailJob")]
    assert shop.members("dead") == []
    assert shop.rows("SELECT thumbnail FROM shop_order") == [("",)]


def test_jobs_of_an_order_that_is_gone_are_given_up(shop, customer):
    customer.order("buyer@example.com")
    shop.rows("DELETE FROM shop_order")

    shop.drain()

    assert (shop.waiting(), shop.members("retry"), shop.members("dead")) == ([], [], [])
    assert shop.mailbox.mails == 0


def test_all_regions_of_the_world_are_imported_once(shop, customer):
    for _ in range(2):
        customer.import_regions()
        assert shop.waiting() == ["ImportRegionsJob"] * 11
        shop.drain()
        assert shop.rows("SELECT count(*) FROM shop_region") == [(REGIONS,)]

    fields = {"product": "1", "email": "buyer@example.com", "region": "DE-BE"}
    assert customer.send("/orders/", fields)[0] == 200
    assert shop.rows("SELECT region_id FROM shop_order") == [("DE-BE",)]
    shop.rows("DELETE FROM shop_order")
    shop.rows("DELETE FROM shop_region")


def test_the_catalogue_is_loaded_twice_without_harm(shop):
    before = shop.rows("SELECT id, name FROM shop_product ORDER BY id")
    shop.manage("load_shop")

    assert shop.rows("SELECT id, name FROM shop_product ORDER BY id") == before
    assert shop.rows("SELECT username FROM auth_user") == [("demo",)]


def test_the_checks_find_nothing(shop):
    assert "no issues" in shop.manage("check", "--tag", "sidekick")
    shop.manage("makemigrations", "shop", "--check", "--dry-run")


def test_pillow_is_loaded_by_the_job_that_needs_it_alone(shop):
    code = (
        "import django, sys; django.setup(); import testproject.urls, testproject.shop.jobs;"
        "print('PIL' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env=shop.environment, capture_output=True, text=True, check=True
    )

    assert done.stdout.strip() == "False"


def test_redis_away_does_not_lose_an_order(shop, redis_url):
    """The order's page comes with the row; the jobs that could not be pushed are in the log, whole."""
    away = type(shop)("redis://127.0.0.1:1/0", None)
    away.manage("migrate", "--verbosity", "0")
    away.manage("load_shop")
    away.start()
    try:
        number = Customer(away.url).order("buyer@example.com")
        assert away.rows("SELECT id FROM shop_order") == [(number,)]
        log = (away.folder / "web.log").read_text()
        assert "Committed, but" in log
        assert "ConfirmOrderJob" in log
    finally:
        away.close()
