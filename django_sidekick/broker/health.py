"""What checks ask of the server, quickly, and where it is."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import redis
from django.conf import settings as django_settings

from django_sidekick.broker import connection
from django_sidekick.conf import Settings

_LOOPBACK = {"localhost", "127.0.0.1", "::1"}


class ServerHealth(NamedTuple):
    """Version and eviction policy ('' where the server does not tell)."""

    version: tuple[int, int]
    version_text: str
    policy: str


def server_health(settings: Settings, *, timeout_s: float) -> ServerHealth | None:
    """Return what the server says of itself; None if it does not answer in time."""
    client = connection.client(settings, socket_timeout_s=timeout_s)
    try:
        info = client.info()
        major, minor, *_ = (int(part) for part in str(info["redis_version"]).split(".")[:2])
        policy = str(info.get("maxmemory_policy", ""))
        return ServerHealth((major, minor), str(info["redis_version"]), policy)
    except (redis.RedisError, OSError, ValueError, KeyError):
        return None
    finally:
        client.connection_pool.disconnect()


def address_of(settings: Settings) -> str:
    """Return where Redis is. Raise ConfigurationError if the settings name no such place."""
    return connection.place(connection.client(settings, socket_timeout_s=1.0))


def places(cache: Mapping[str, Any]) -> set[tuple[str, int, int]]:
    """Return (host, port, database) of a cache's LOCATION; empty for one that is no Redis URL.

    The names of this machine's loopback are one host.
    """
    locations = cache.get("LOCATION") or ()
    if isinstance(locations, str):
        locations = locations.split(",")
    database = (cache.get("OPTIONS") or {}).get("db", 0)
    found = set()
    for location in locations:
        try:
            options = connection.parse_url(location.strip())
        except ValueError:
            continue
        host = str(options.get("path") or options.get("host", "localhost"))
        host = "localhost" if host in _LOOPBACK else host
        found.add((host, int(options.get("port", 6379)), int(options.get("db", database))))
    return found


def places_of(settings: Settings) -> set[tuple[str, int, int]]:
    """Return, as places() does, where the jobs are: by the alias or the URL of the settings."""
    where = connection.address(settings)
    return places({"LOCATION": where} if "://" in where else django_settings.CACHES[where])
