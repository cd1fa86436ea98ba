"""`make screenshots`: every page of the running demo, light and dark, into docs/screenshots/.

With names of pages behind `python -m testproject.screenshots`, those alone.
"""

from __future__ import annotations

import contextlib
import io
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import NamedTuple

from PIL import Image
from playwright.sync_api import Browser, Page, sync_playwright

from testproject.browser import launch
from testproject.demo import ROOT, SECOND_STAGE

FOLDER = ROOT / "docs" / "screenshots"
WIDTH, LEAST_HEIGHT, MOST_HEIGHT = 1280, 500, 1200
PHONE = {"width": 390, "height": 844}
COLOURS, REFINED = 256, 2
"""A smaller palette, or one that is not gone over twice, makes the few red pixels of a dead job brown."""
READY_WITHIN_S = 90
PAGES = {
    "overview": "", "queues": "queues/", "queue": "queues/newsletter/", "busy": "busy/", "retries": "retries/",
    "scheduled": "scheduled/", "dead": "dead/", "processes": "processes/", "metrics": "metrics/",
    "search": "search/?q=order",
}  # fmt: skip
A_FAILING_JOB = "#content tr:has-text('ReportStockJob') a.sk-jid"
READY = """async () => {
    const {numbers} = await (await fetch("?live=1")).json();
    return numbers.retries > 3 && numbers.dead > 5 && numbers.busy > 1 && numbers.processed > 30;
}"""
"""The demo has something of everything to see."""
TIDY = """([from, to]) => {
    const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
    while (texts.nextNode()) texts.currentNode.data = texts.currentNode.data.replaceAll(from, to);
}"""


class Demo(NamedTuple):
    """Where it can be looked at, and by whom."""

    admin: str
    live: str
    name: str
    password: str


@contextlib.contextmanager
def demo() -> Iterator[Demo]:
    """Run the demo's second stage until the block is left."""
    process = subprocess.Popen(
        [sys.executable, "-m", "testproject.demo"],
        cwd=ROOT, env={**os.environ, SECOND_STAGE: "1", "ONCE": "", "DYNO": "shop-1"}, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        said = ""
        for line in process.stdout or ():
            said += line
            if line.startswith("mail"):
                break
        admin = re.search(r"^admin +(\S+) +\((\w+), (\S+)\)$", said, re.MULTILINE)
        live = re.search(r"^live +(\S+)$", said, re.MULTILINE)
        if not admin or not live:
            sys.exit("The demo did not say where it is.")
        yield Demo(admin[1], live[1], admin[2], admin[3])
    finally:
        process.send_signal(signal.SIGINT)
        process.communicate()


def take(browser: Browser, shown: Demo, names: Collection[str] = ()) -> None:
    """Log in, wait until there is something of everything, and take the pictures of these pages, or all."""
    page = browser.new_page(viewport={"width": WIDTH, "height": LEAST_HEIGHT})
    page.goto(f"{shown.admin}login/?next={shown.live}")
    page.fill("[name=username]", shown.name)
    page.fill("[name=password]", shown.password)
    page.click("[type=submit]")
    _wait(page)
    addresses = {name: shown.live + path for name, path in PAGES.items()}
    page.goto(addresses["retries"])
    addresses["job"] = str(page.locator(A_FAILING_JOB).first.evaluate("link => link.href"))
    addresses["jobs"] = f"{shown.admin}django_sidekick/jobrecord/"
    for name in names or addresses:
        page.goto(addresses[name])
        for theme in ("light", "dark"):
            _shoot(page, f"{name}-{theme}", theme)
    if names:
        return
    page.set_viewport_size({"width": PHONE["width"], "height": PHONE["height"]})
    page.goto(addresses["retries"])
    _shoot(page, "phone-light", "light")


def _wait(page: Page) -> None:
    pause, deadline = threading.Event(), time.monotonic() + READY_WITHIN_S
    while not page.evaluate(READY):
        if time.monotonic() > deadline:
            sys.exit(f"The demo had not something of everything within {READY_WITHIN_S} s.")
        pause.wait(1)


def _shoot(page: Page, name: str, theme: str) -> None:
    page.emulate_media(color_scheme="dark" if theme == "dark" else "light", reduced_motion="reduce")
    page.evaluate("document.getAnimations().forEach(animation => animation.finish())")
    for text, instead in ((f"{ROOT}/", ""), (f"{sys.base_prefix}/", "…/")):
        page.evaluate(TIDY, [text, instead])
    size = page.viewport_size or PHONE
    height = min(int(page.evaluate("document.documentElement.scrollHeight")), MOST_HEIGHT)
    clip = {"x": 0, "y": 0, "width": size["width"], "height": height}
    with Image.open(io.BytesIO(page.screenshot(clip=clip, full_page=True))) as picture:  # type: ignore[arg-type]
        small = picture.convert("RGB").quantize(COLOURS, kmeans=REFINED, dither=Image.Dither.NONE)
        small.save(FOLDER / f"{name}.png", optimize=True)
    print(f"{Path('docs', 'screenshots', name)}.png", flush=True)


def main() -> None:
    """Take them all, or those that are named."""
    FOLDER.mkdir(exist_ok=True)
    with sync_playwright() as playwright, demo() as shown:
        take(launch(playwright), shown, sys.argv[1:])


if __name__ == "__main__":
    main()
