"""The processes of a showing: manage.py's commands, run to their end or beside us, and the mail server."""

from __future__ import annotations

import contextlib
import re
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from aiosmtpd.controller import Controller

ROOT = Path(__file__).resolve().parent.parent
START_WITHIN_S = 30
STOP_WITHIN_S = 30
LAST_LINES = 15
_ERROR = re.compile(r"[\w.]*(Error|Exception|Configured|Unavailable)\b")
_pause = threading.Event()


class Failed(Exception):
    """A step of the demo failed; the message says which, and why."""


class Command:
    """A long-running `manage.py` command. Leave the block to stop it; its jobs or requests end before.

    In a session of its own: Ctrl-C reaches the demo alone, which then stops one after the other.
    """

    def __init__(self, *words: str, log: Path | None = None) -> None:
        self.name = f"manage.py {words[0]}"
        self._words = words
        self._log = log

    def __enter__(self) -> Command:
        with contextlib.ExitStack() as opened:
            out: IO[str] | int | None = None
            if self._log:
                out = opened.enter_context(self._log.open("w", encoding="utf-8"))
            self._process = subprocess.Popen(
                [sys.executable, "manage.py", *self._words],
                cwd=ROOT, stdin=subprocess.DEVNULL, stdout=out or sys.stderr, stderr=out, start_new_session=True,
            )  # fmt: skip
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        """Ask it to end, wait 30 s, kill it if it has not. Harmless if it has ended."""
        self._process.terminate()
        try:
            self._process.wait(STOP_WITHIN_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def check(self) -> None:
        """Raise Failed, with the end of its log, if it is not running any more."""
        code = self._process.poll()
        if code is not None:
            raise Failed(f"{self.name} ended by itself, with {code}.\n{self.last_lines()}")

    def last_lines(self) -> str:
        """Return the end of its log; empty if it writes to the terminal."""
        if not self._log:
            return ""
        return "\n".join(self._log.read_text("utf-8", errors="replace").splitlines()[-LAST_LINES:])

    def wait_for(self, port: int) -> None:
        """Wait until it listens at the port. Raise Failed if it ends before, or after 30 s."""
        deadline = time.monotonic() + START_WITHIN_S
        while not answers(port):
            self.check()
            if time.monotonic() > deadline:
                raise Failed(f"{self.name} did not listen within {START_WITHIN_S} s.\n{self.last_lines()}")
            _pause.wait(0.05)


class Mailbox:
    """A real SMTP server that takes every mail, counts it and tells of it on stderr."""

    def __init__(self) -> None:
        self.mails = 0

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:  # noqa: N802 aiosmtpd's name
        """Take the mail."""
        self.mails += 1
        print(f"mail no. {self.mails} to {', '.join(envelope.rcpt_tos)}", file=sys.stderr, flush=True)
        return "250 OK"

    @contextlib.contextmanager
    def listening(self, port: int) -> Iterator[Mailbox]:
        """Listen at a port of the loopback address."""
        controller = Controller(self, hostname="127.0.0.1", port=port)
        controller.start()
        try:
            yield self
        finally:
            controller.stop()


def manage(*words: str) -> str:
    """Run a command to its end and return its output. Raise Failed, with its errors, if it fails."""
    done = subprocess.run(
        [sys.executable, "manage.py", *words], cwd=ROOT, capture_output=True, text=True, check=False, start_new_session=True
    )  # fmt: skip
    if done.returncode:
        raise Failed(f"manage.py {' '.join(words)} failed: {reason(done.stderr)}")
    return done.stdout.strip()


def reason(errors: str) -> str:
    """Return what a failed command has said last: of a traceback, the error and its message."""
    lines = errors.strip().splitlines()
    starts = [number for number, line in enumerate(lines) if _ERROR.match(line)]
    return "\n".join(lines[starts[-1] if starts else -LAST_LINES :])


def answers(port: int) -> bool:
    """Tell whether somebody listens."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=1):
            return True
    except OSError:
        return False
