"""A throw-away MariaDB server of the session."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import pymysql

from tests.settings import free_port

pymysql.version_info = (2, 2, 7, "final", 0)  # what Django asks of mysqlclient
pymysql.install_as_MySQLdb()


class MariaDB:
    """Listens on the loopback address and on a socket in its own folder. Raise FileNotFoundError if there is no binary."""

    def __init__(self) -> None:
        server, install = shutil.which("mariadbd"), shutil.which("mariadb-install-db")
        if not server or not install:
            raise FileNotFoundError("mariadbd")
        self.folder = Path(tempfile.mkdtemp(prefix="sidekick-mariadb-"))
        self._as = ["--user=mysql"] if os.geteuid() == 0 else []
        if self._as:
            shutil.chown(self.folder, "mysql")
        self.port = free_port()
        data = f"--datadir={self.folder / 'data'}"
        subprocess.run(
            [install, "--no-defaults", data, "--auth-root-authentication-method=normal", "--skip-test-db", *self._as],
            check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        self.process = subprocess.Popen(
            [server, "--no-defaults", data, f"--port={self.port}", "--bind-address=127.0.0.1",
             f"--socket={self.folder / 'socket'}", f"--pid-file={self.folder / 'pid'}", *self._as],
            stdout=subprocess.DEVNULL, stderr=(self.folder / "log").open("w"),
        )  # fmt: skip

    def answers(self) -> bool:
        try:
            link = pymysql.connect(unix_socket=str(self.folder / "socket"), user="root")
        except pymysql.OperationalError:  # not that of pymysql.err, which Django's backend loads a second time
            return False
        with link, link.cursor() as cursor:
            cursor.execute("CREATE DATABASE IF NOT EXISTS mirror CHARACTER SET utf8mb4")
        return True

    @property
    def settings(self) -> dict[str, Any]:
        return {
            "ENGINE": "django.db.backends.mysql", "NAME": "mirror", "USER": "root",
            "OPTIONS": {"unix_socket": str(self.folder / "socket"), "charset": "utf8mb4"},
        }  # fmt: skip

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        shutil.rmtree(self.folder, ignore_errors=True)
