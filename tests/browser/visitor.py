"""A person with a browser, and all that goes wrong in it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from django.urls import reverse
from playwright.sync_api import (
    Browser,
    BrowserContext,
    ConsoleMessage,
    Dialog,
    Locator,
    Page,
    Request,
    Response,
    WebError,
)

from tests.conftest import DEADLINE_S

HERE = Path(__file__).parent
WITHIN_MS = DEADLINE_S * 1000
PHONE: dict[str, Any] = {"viewport": {"width": 390, "height": 844}, "is_mobile": True, "has_touch": True}
DESK: dict[str, Any] = {"viewport": {"width": 1280, "height": 900}}
WATCH = "button => new MutationObserver(() => { window.hasCopied = true }).observe(button, {attributeFilter: ['data-copied']})"
LISTENER = "addEventListener('securitypolicyviolation', e => console.error('policy: ' + e.violatedDirective + ' ' + e.blockedURI))"


class Visitor:
    """One browser context with one page. `faults` collects what nobody wants to see; `forgiven` takes patterns out."""

    def __init__(self, browser: Browser, address: str, cookies: dict[str, str], **options: Any) -> None:
        self.address = address
        self._faults: list[str] = []
        self.forgiven: list[str] = [r"/favicon\.ico"]  # the project's, not ours
        self.polls: list[str] = []
        self.context: BrowserContext = browser.new_context(base_url=address, **{**DESK, **options})
        self.context.set_default_timeout(WITHIN_MS)
        self.context.add_cookies([{"name": name, "value": value, "url": address} for name, value in cookies.items()])
        self.context.add_init_script(LISTENER)
        for event, listener in {
            "console": self._said, "dialog": self._asked, "weberror": self._raised,
            "request": self._sent, "requestfailed": self._failed, "response": self._answered,
        }.items():  # fmt: skip
            self.context.on(event, listener)  # type: ignore[call-overload]
        self.page: Page = self.context.new_page()

    def open(self, name: str, *args: Any, query: str = "") -> Page:
        """Go to a live page by its name."""
        self.page.goto(self.url(name, *args) + query)
        return self.page

    def url(self, name: str, *args: Any) -> str:
        """Return the path of a live page, or of the list of `records`."""
        if name == "records":
            return reverse("admin:django_sidekick_jobrecord_changelist")
        return reverse(f"admin:sidekick_{name}", args=args)

    def mark(self, *jids: str) -> None:
        """Check the boxes of these jobs."""
        for jid in jids:
            self.row(jid).locator("input[name=_selected_action]").check()

    def row(self, text: str) -> Locator:
        """Return the row of a table in which a text stands."""
        return self.page.locator("#content tbody tr").filter(has_text=text)

    def press(self, act: str, within: Locator | None = None) -> None:
        """Press the button of an act and see the page that comes."""
        with self.page.expect_navigation():
            (within or self.page.locator("#content")).locator(f"button[data-action={act}]").first.click()

    def confirm(self, act: str) -> None:
        """Say yes to the admin's question."""
        assert self.page.locator("input[name=post][value=yes]").count() == 1, "the page asks first"
        self.press(act)

    def copy(self, what: str) -> str:
        """Press the button that copies an element; return what there is to paste once the button has said that it did.

        It says so for two seconds only, and the clipboard has what another test has copied.
        """
        button = self.page.locator(f"[data-copy={what}]")
        button.evaluate(WATCH)
        button.click()
        self.page.wait_for_function("() => window.hasCopied")
        return str(self.page.evaluate("navigator.clipboard.readText()"))

    def said(self) -> str:
        """Return what the page says about the last act."""
        return self.page.locator("ul.messagelist").inner_text()

    def complaints(self) -> list[str]:
        """Return what this page owes to eyes and screen readers: audit.js and contrast.js say what."""
        return [text for name in ("audit", "contrast") for text in self.page.evaluate((HERE / f"{name}.js").read_text())]

    def faults(self) -> list[str]:
        """Return what went wrong so far and was not forgiven."""
        if not self.page.is_closed():
            self.page.evaluate("1")  # what the browser has said before is heard
        return [fault for fault in self._faults if not any(re.search(pattern, fault) for pattern in self.forgiven)]

    def leave(self) -> list[str]:
        """Close all. Return the faults."""
        faults = self.faults()
        self.context.close()
        return faults

    def _said(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            self._faults.append(f"console: {message.text} ({message.location.get('url')})")

    def _asked(self, dialog: Dialog) -> None:
        self._faults.append(f"dialog: {dialog.message}")
        dialog.dismiss()

    def _raised(self, error: WebError) -> None:
        self._faults.append(f"script: {error.error}")

    def _failed(self, request: Request) -> None:
        """A poll that the next page cuts short is no fault."""
        if not ("live=" in request.url and request.failure == "net::ERR_ABORTED"):
            self._faults.append(f"request: {request.url} {request.failure}")

    def _sent(self, request: Request) -> None:
        if "live=" in request.url:
            self.polls.append(request.url)

    def _answered(self, response: Response) -> None:
        if response.status >= 400:
            self._faults.append(f"answer: {response.status} {response.url}")
