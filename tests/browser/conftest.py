"""One Chromium for all tests of this folder, over a real server, database and Redis."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import Permission, User
from django.test import Client
from playwright.sync_api import Browser, expect, sync_playwright

from testproject.browser import launch
from tests.browser.memory import remember_some
from tests.browser.stock import Stock
from tests.browser.visitor import WITHIN_MS, Visitor

HERE = Path(__file__).parent
RIGHTS = ("view_jobrecord", "operate_jobs", "destroy_jobs")


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Last of all, and together: while playwright is at work, no other event loop can run in this thread."""
    items.sort(key=lambda item: HERE in item.path.parents)


@pytest.fixture(scope="package")
def chromium() -> Iterator[Browser]:
    """Ends with the last of these tests in a row: another one, stolen from another process, may need a loop of its own.

    Skips loudly where there is none; in CI a skip is a failure.
    """
    with pytest.MonkeyPatch.context() as patch, sync_playwright() as playwright:
        patch.setenv("DJANGO_ALLOW_ASYNC_UNSAFE", "1")  # playwright's loop is no reason not to ask the database
        try:
            browser = launch(playwright)
        except FileNotFoundError as error:
            pytest.skip(f"{error} Nothing is shown about the pages in a browser.")
        expect.set_options(timeout=WITHIN_MS)
        yield browser
        browser.close()


@pytest.fixture
def visit(chromium: Browser, transactional_db: None, live_server: Any, redis: Any, unhurried: None) -> Iterator[Callable[..., Visitor]]:
    """Return a function that opens a browser for a staff user with these rights; None: for nobody.

    Whatever went wrong in it (script errors, policy violations, dialogs, failed requests, answers from 400) fails
    the test, unless the test has put a pattern for it into `forgiven`.
    """
    visitors: list[Visitor] = []

    def come(*rights: str | None, **options: Any) -> Visitor:
        cookies = {} if rights == (None,) else log_in(*(rights or RIGHTS))
        visitors.append(Visitor(chromium, live_server.url, cookies, **options))
        return visitors[-1]

    yield come
    faults = [fault for visitor in visitors for fault in visitor.leave()]
    assert faults == []


@pytest.fixture
def stock(redis: Any, transactional_db: None) -> Stock:
    """An ordinary day in Redis and in the mirror."""
    stock = Stock(redis)
    stock.fill()
    remember_some()
    return stock


def log_in(*codenames: str) -> dict[str, str]:
    """Make a staff user with these permissions; return the cookies of a session."""
    user = User.objects.create_user(f"user{User.objects.count()}", is_staff=True)
    user.user_permissions.set(Permission.objects.filter(codename__in=codenames))
    client = Client()
    client.force_login(user)
    return {name: cookie.value for name, cookie in client.cookies.items()}
