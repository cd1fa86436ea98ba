"""DATABASE_URL in Django's words."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

from django.core.exceptions import ImproperlyConfigured


def database(url: str, sqlite_file: Path) -> dict[str, Any]:
    """Return the dict of postgresql://user:password@host:port/name?option=value; of the file without a URL.

    Raise ImproperlyConfigured, without the password, for any other URL.
    """
    if not url:
        return sqlite(sqlite_file)
    parts = urlsplit(url)
    if parts.scheme not in ("postgres", "postgresql") or not parts.path.strip("/"):
        raise ImproperlyConfigured("DATABASE_URL must be postgresql://user:password@host:port/name, or empty.")
    try:
        port = parts.port
    except ValueError as error:
        raise ImproperlyConfigured(f"DATABASE_URL: {error}") from error
    return {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": unquote(parts.path.lstrip("/")),
        "USER": unquote(parts.username or ""),
        "PASSWORD": unquote(parts.password or ""),
        "HOST": unquote(parts.hostname or ""),
        "PORT": str(port or ""),
        "OPTIONS": dict(parse_qsl(parts.query)),
    }


def sqlite(file: Path) -> dict[str, Any]:
    """Return the dict of a SQLite file that web server and worker can share: readers never wait for writers."""
    options = {
        "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL",
        "transaction_mode": "IMMEDIATE",
        "timeout": 20,
    }
    return {"ENGINE": "django.db.backends.sqlite3", "NAME": file, "OPTIONS": options}
