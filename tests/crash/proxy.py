"""A proxy between a process and Redis that knows our scripts, and strikes at a chosen call of one."""

from __future__ import annotations

import collections
import hashlib
import json
import os
import select
import signal
import socket
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from django_sidekick.broker import scripts

NAMES = {
    scripts.load(path.stem).sha: path.stem
    for path in Path(scripts.__file__).parent.glob("*.lua")
    if path.stem not in {"settle", "fencing", "returning"}
}


TOGETHER = "together"
"""The name of the transaction that pushes many jobs: it strikes at its EXEC."""

ACKNOWLEDGING = {"fetch", "acknowledge", "settle_dead"}
"""The scripts that carry outcomes."""

CARRIED_OUT = b"*2\r\n$4\r\nECHO\r\n$11\r\ncarried out\r\n"


def carrying(kind: str) -> str:
    """The name under which the calls are counted, of whatever script, that carry an outcome of this kind."""
    return f"with {kind}"


class Point(NamedTuple):
    """The `number`th call (from 1) of a script, or carrying a kind of outcome, and what happens there.

    before: the process is killed and the call is not made. after: the call is made, then the process is killed.
    cut: the call is made, its reply is lost with the connection; the process lives.
    """

    script: str
    number: int
    action: str

    def __str__(self) -> str:
        return f"{self.action} {self.script} {self.number}"


class Proxy:
    """Listens at a free port. `victim` is the process that is killed."""

    def __init__(self, server_port: int, point: Point | None = None) -> None:
        self.calls: collections.Counter[str] = collections.Counter()
        self.written: collections.Counter[int] = collections.Counter()
        """How many outcomes of each job have reached the server."""

        self.has_struck = threading.Event()
        self.struck_at = float("inf")
        self.victim = 0
        self._point = point
        self._server_port = server_port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self._lock = threading.Lock()
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            server = socket.create_connection(("127.0.0.1", self._server_port))
            threading.Thread(target=self._serve, args=(client, server), daemon=True).start()

    def _serve(self, client: socket.socket, server: socket.socket) -> None:
        reader = _Commands()
        with client, server:
            try:
                while True:
                    readable = select.select([client, server], [], [])[0]
                    if server in readable:
                        reply = server.recv(65_536)
                        if not reply:
                            return
                        client.sendall(reply)
                    if client in readable:
                        said = client.recv(65_536)
                        if not said or not reader.feed(said, self._forward(server)):
                            return
            except OSError:
                return

    def _forward(self, server: socket.socket) -> Callable[[bytes, list[bytes]], bool]:
        def forward(raw: bytes, words: list[bytes]) -> bool:
            """Pass a command on. Return False to end the connection."""
            script = _script_of(words)
            outcomes = _outcomes_in(words) if script in ACKNOWLEDGING else []
            if script is None or not self._strikes({script, *(carrying(kind) for _, kind in outcomes)}):
                server.sendall(raw)
                self._note(outcomes)
                return True
            if self._point.action != "before":
                server.sendall(raw + CARRIED_OUT)
                _wait_for_its_reply(server)
                self._note(outcomes)
            self.struck_at = time.monotonic()
            if self._point.action != "cut":
                while not self.victim:  # it is quicker than the one that has started it
                    time.sleep(0.001)
                os.kill(self.victim, signal.SIGKILL)
            self.has_struck.set()
            return False

        return forward

    def _strikes(self, names: set[str]) -> bool:
        with self._lock:
            self.calls.update(names)
            point = self._point
            return point is not None and point.script in names and self.calls[point.script] == point.number

    def _note(self, outcomes: list[tuple[int, str]]) -> None:
        with self._lock:
            self.written.update(number for number, _ in outcomes)


class _Commands:
    """Cuts what a client sends into commands."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, said: bytes, on_command: Callable[[bytes, list[bytes]], bool]) -> bool:
        self._rest += said
        while (found := self._next()) is not None:
            end, words = found
            raw, self._rest = self._rest[:end], self._rest[end:]
            if not on_command(raw, words):
                return False
        return True

    def _next(self) -> tuple[int, list[bytes]] | None:
        head = self._rest.find(b"\r\n")
        if head < 0:
            return None
        at, words = head + 2, []
        for _ in range(int(self._rest[1:head])):
            line = self._rest.find(b"\r\n", at)
            if line < 0:
                return None
            size = int(self._rest[at + 1 : line])
            at = line + 2 + size + 2
            if len(self._rest) < at:
                return None
            words.append(self._rest[line + 2 : line + 2 + size])
        return at, words


def _wait_for_its_reply(server: socket.socket) -> None:
    """Read until the server has carried out all that it was sent, CARRIED_OUT last."""
    replies = b""
    while b"carried out" not in replies:
        replies += server.recv(65_536)


def _script_of(words: list[bytes]) -> str | None:
    if words[0] == b"EXEC":
        return TOGETHER
    if words[0] == b"EVALSHA":
        return NAMES.get(words[1].decode())
    if words[0] == b"EVAL":
        return NAMES.get(hashlib.sha1(words[1], usedforsecurity=False).hexdigest())
    return None


def _outcomes_in(words: list[bytes]) -> list[tuple[int, str]]:
    """The number of each job and how it ended: as the tests' events tell, and for what is released, its RPUSH."""
    blobs = [json.loads(word) for word in words if word.startswith(b"[[")]
    outcomes = [(number, kind) for blob in blobs for number, kind in blob]
    pushed = [words[at + 2] for at, word in enumerate(words) if word == b"RPUSH" and words[at + 1].startswith(b"queue:")]
    return outcomes + [(json.loads(raw)["args"][0], "released") for raw in pushed]
