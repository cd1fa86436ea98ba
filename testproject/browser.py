"""The Chromium of this machine, driven by playwright, which brings none and downloads none."""

from __future__ import annotations

import os
import shutil

from playwright.sync_api import Browser, Playwright

NAMES = ("chromium", "chromium-browser", "google-chrome")


def launch(playwright: Playwright) -> Browser:
    """Start it without a window. Raise FileNotFoundError where there is none."""
    path = next(filter(None, map(shutil.which, NAMES)), None)
    if path is None:
        raise FileNotFoundError("Chromium is not installed (on Debian: apt install chromium).")
    words = ["--disable-gpu", "--disable-dev-shm-usage", "--hide-scrollbars"]
    if os.geteuid() == 0:
        words.append("--no-sandbox")  # root has no sandbox to start
    return playwright.chromium.launch(executable_path=path, args=words)
