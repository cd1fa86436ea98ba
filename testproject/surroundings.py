"""Where one showing of the demo lives: a folder, two ports and a key prefix of its own."""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import socket
import tempfile
from pathlib import Path
from types import FrameType, TracebackType


class Surroundings:
    """Enter to put them into the environment, which all of the showing's processes inherit.

    While inside, SIGTERM and SIGHUP end the showing as Ctrl-C does. On leaving, the folder with database,
    media and logs is deleted.
    """

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="sidekick-shop-"))
        self.web_port, self.smtp_port = free_port(), free_port()
        self.shop_url = f"http://127.0.0.1:{self.web_port}"
        self.key_prefix = f"shop-{secrets.token_hex(4)}:"

    def __enter__(self) -> Surroundings:
        os.environ |= {
            "DJANGO_SETTINGS_MODULE": "testproject.settings",
            "SHOP_VAR_DIR": str(self.folder),
            "SHOP_SMTP_PORT": str(self.smtp_port),
            "SHOP_CARRIER_URL": f"{self.shop_url}/carrier/quote/",
            "SHOP_KEY_PREFIX": self.key_prefix,
            "SHOP_COUNTS_JOBS": "1",
            "PYTHONUNBUFFERED": "1",
        }
        for number in (signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, _interrupt)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)


def be_deaf() -> None:
    """Let nothing interrupt the stopping."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)


def free_port() -> int:
    """Return a port of the loopback address that nobody listens at."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt
