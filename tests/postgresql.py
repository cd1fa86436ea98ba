"""A throw-away PostgreSQL cluster of the session, or the server that DATABASE_URL names."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from tests.settings import free_port


class PostgreSQL:
    """Listens on the loopback address and on a socket in its own folder. Raise OSError if there is no binary."""

    def __init__(self) -> None:
        self._bin = _binaries()
        self._as = ["runuser", "-u", "postgres", "--"] if os.geteuid() == 0 else []
        self.folder = Path(tempfile.mkdtemp(prefix="sidekick-postgresql-"))
        if self._as:
            shutil.chown(self.folder, "postgres")
        self.port = free_port()
        self.user = "postgres" if self._as else os.environ.get("USER", "postgres")
        self._run("initdb", "-D", str(self._data), "-A", "trust", "-U", self.user, "--no-sync")
        self.start()

    @property
    def url(self) -> str:
        return f"postgresql://{self.user}@127.0.0.1:{self.port}/postgres"

    def start(self) -> None:
        options = f"-p {self.port} -k {self.folder} -c listen_addresses=127.0.0.1 -c fsync=off -c max_connections=60"
        self._run("pg_ctl", "-D", str(self._data), "-o", options, "-l", str(self.folder / "log"), "-w", "start")

    def stop(self) -> None:
        self._run("pg_ctl", "-D", str(self._data), "-m", "immediate", "-w", "stop")

    def close(self) -> None:
        self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)

    @property
    def _data(self) -> Path:
        return self.folder / "data"

    def _run(self, name: str, *words: str) -> None:
        done = subprocess.run(
            [*self._as, str(self._bin / name), *words],
            cwd="/", stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, check=False,
        )  # fmt: skip
        if done.returncode:
            raise RuntimeError(f"{name} failed: {done.stderr}")


def _binaries() -> Path:
    if path := shutil.which("initdb"):
        return Path(path).resolve().parent
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    if not found:
        raise FileNotFoundError("initdb")
    return found[-1].parent
