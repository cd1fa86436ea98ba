"""New code without a gap: try it in a process of its own, then become it, children and all."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from typing import IO, Any

from django_sidekick.worker import bell, link
from django_sidekick.worker.leash import Leash
from django_sidekick.worker.supervised import SupervisedProcess

logger = logging.getLogger("sidekick")

INHERITANCE = "DJANGO_SIDEKICK_INHERITANCE"
REHEARSAL = "DJANGO_SIDEKICK_REHEARSAL"
REHEARSAL_S = 60.0
LAST_BYTES = 2000
_KEPT = ("pid", "role", "identity", "started_at_s", "is_ready", "is_quiet", "is_dismissed")


class Renewal:
    """HUP: the process becomes the new code by exec, and keeps its pid and its children.

    The new code replaces them a few at a time, each told to end when its replacement is ready. Code that does not
    even start, or not in time, is found out before, by a rehearsal: then all stays as it is.
    """

    def __init__(self, leash: Leash | None = None) -> None:
        inheritance = json.loads(os.environ.pop(INHERITANCE, "{}"))
        self.was_quiet: bool = inheritance.get("quiet", False)
        self._inherited: list[dict[str, Any]] = inheritance.get("children", [])
        self._leash = leash
        self._is_asked = False
        self._rehearsal: _Rehearsal | None = None
        self.is_agreed = False
        """Whether the new code starts: it is to be become."""

    def ask(self) -> None:
        """Ask for new code. Safe in a signal handler. If a rehearsal is under way, another one follows it."""
        self._is_asked = True

    def turn(self) -> None:
        """Begin a rehearsal if asked to; see whether the present one has ended; say why it has not ended well."""
        if self._rehearsal is None and self._is_asked:
            self._is_asked = self.is_agreed = False
            logger.info("New code is being tried.")
            self._rehearsal = _Rehearsal()
        if self._rehearsal is None or (code := self._rehearsal.code()) is None:
            return
        rehearsal, self._rehearsal = self._rehearsal, None
        self.is_agreed = code == 0 and not self._is_asked
        if code != 0:
            logger.error("The new code does not start; the old one goes on.\n%s", rehearsal.why())

    def abandon(self) -> None:
        """Forget it: this process is to end."""
        self._is_asked = self.is_agreed = False
        if self._rehearsal:
            self._rehearsal.kill()

    @property
    def pids(self) -> set[int]:
        """The process that tries the new code, if one does."""
        return {self._rehearsal.pid} if self._rehearsal else set()

    def carry_out(
        self, children: Sequence[SupervisedProcess], *, is_quiet: bool, is_called_off: Callable[[], bool]
    ) -> None:
        """Become the new code, and do not return; unless a signal came in the meantime that calls it off.

        Signals wait from here on until the new code can obey them.
        """
        bell.hold()
        if is_called_off():
            bell.release()
            return
        logger.info("Going on with new code.")
        kept = [
            {"link": child.link.keep_over_exec(), **{name: getattr(child, name) for name in _KEPT}}
            for child in children
        ]
        os.environ[INHERITANCE] = json.dumps({"quiet": is_quiet, "children": kept})
        if self._leash:
            self._leash.keep_over_exec()
        sys.stdout.flush()
        sys.stderr.flush()
        words = command()
        os.execv(words[0], words)

    def inherited(self) -> list[SupervisedProcess]:
        """Return the children of the code before us."""
        children, self._inherited = self._inherited, []
        return [
            SupervisedProcess(link=link.taken_over(child["link"]), **{name: child[name] for name in _KEPT})
            for child in children
        ]

    def disown(self) -> None:
        """Leave the children of the code before us to themselves: they take us for dead, and drain."""
        for child in self.inherited():
            child.link.close()


class _Rehearsal:
    """The same command, told to end where the work would begin."""

    def __init__(self) -> None:
        # A pipe that nobody reads would hold it up.
        self._stderr: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 read at its end
        self._process = subprocess.Popen(
            command(),
            env={**os.environ, REHEARSAL: "1"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=self._stderr,
        )
        self._end_by = time.monotonic() + REHEARSAL_S
        self.pid = self._process.pid
        self._is_overdue = False

    def code(self) -> int | None:
        """Return the exit code, None while it goes on. Ended by force when it has not ended in time."""
        if self._process.poll() is None and time.monotonic() > self._end_by:
            self._is_overdue = True
            self.kill()
        return self._process.returncode

    def kill(self) -> None:
        """End it."""
        self._process.kill()
        self._process.wait()

    def why(self) -> str:
        """Return the end of what it said."""
        size = self._stderr.seek(0, os.SEEK_END)
        self._stderr.seek(max(0, size - LAST_BYTES))
        said = self._stderr.read().decode(errors="replace")
        self._stderr.close()
        return f"{said}\nIt has not ended within {REHEARSAL_S:.0f} s." if self._is_overdue else said


def is_rehearsal() -> bool:
    """Tell whether this process is only to find out if the code starts."""
    return REHEARSAL in os.environ


def command() -> list[str]:
    """Return the words that this process was started with."""
    return [sys.executable, *sys.orig_argv[1:]]
