"""New code without a gap: try it in a process of its own, then become it, children and all."""

from __future__ import annotations

import json
import logging
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from typing import Any

logger = logging.getLogger("sidekick")

INHERITANCE = "DJANGO_SIDEKICK_INHERITANCE"
REHEARSAL = "DJANGO_SIDEKICK_REHEARSAL"
LAST_CHARACTERS = 2000

Heir = tuple[int, str, int, str]
"""pid, role, number of the open link, identity."""


class Renewal:
    """HUP: the supervisor becomes the new code by exec, and keeps its pid and its children.

    The new code replaces them one by one, each told to end when its successor is ready. Code that does not even
    start is found out before, by a rehearsal: then all stays as it is.
    """

    def __init__(self) -> None:
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        self.inherited: list[Any] = json.loads(os.environ.pop(INHERITANCE, "[]"))
        self._rehearsal: subprocess.Popen[bytes] | None = None

    def ask(self) -> None:
        """Begin the rehearsal, unless one is under way."""
        if self._rehearsal is None:
            logger.info("New code is being tried.")
            self._rehearsal = subprocess.Popen(
                command(),
                env={**os.environ, REHEARSAL: "1"},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
            )

    def is_agreed(self) -> bool:
        """Tell whether the rehearsal has ended well; say why if it has not."""
        if self._rehearsal is None or self._rehearsal.poll() is None:
            return False
        rehearsal, self._rehearsal = self._rehearsal, None
        said = rehearsal.stderr.read() if rehearsal.stderr else b""
        if rehearsal.returncode == 0:
            return True
        logger.error(
            "The new code does not start; the old one goes on.\n%s",
            said.decode(errors="replace")[-LAST_CHARACTERS:],
        )
        return False

    def carry_out(self, children: Sequence[Heir]) -> None:
        """Become the new code. Never return."""
        logger.info("Going on with new code.")
        signal.signal(signal.SIGHUP, signal.SIG_IGN)  # ignored over exec too, until the new code listens
        os.environ[INHERITANCE] = json.dumps(children)
        sys.stdout.flush()
        sys.stderr.flush()
        words = command()
        os.execv(words[0], words)


def is_rehearsal() -> bool:
    """Tell whether this process is only to find out if the code starts."""
    return REHEARSAL in os.environ


def command() -> list[str]:
    """Return the words that this process was started with."""
    return [sys.executable, *sys.orig_argv[1:]]
