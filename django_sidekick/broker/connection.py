"""How to reach Redis: the settings' address, and connections of our own from it."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Sequence
from inspect import Parameter, signature
from typing import Any, TypeAlias

import redis
from django.conf import settings as django_settings
from django_redis import get_redis_connection
from redis.backoff import NoBackoff
from redis.connection import parse_url as _parse_url
from redis.retry import Retry
from redis.sentinel import SentinelConnectionPool

from django_sidekick.broker import embedded
from django_sidekick.conf import Settings
from django_sidekick.exceptions import ConfigurationError

parse_url: Callable[[str], dict[str, Any]] = _parse_url

DEFAULT_URL = "redis://127.0.0.1:6379/0"
CONNECT_TIMEOUT_S = 2.0
WORKER_SOCKET_TIMEOUT_S = 30.0
NO_LIMIT = 2**31
"""Of a pool's connections: redis-py 8 says 100, and a worker has one for each of its 256 queues, a program one a thread."""

Client: TypeAlias = Any
"""A redis.Redis. redis-py's own hints differ between versions 5 and 8, replies above all."""

Pool: TypeAlias = Any
"""A redis.ConnectionPool or SentinelConnectionPool, for the same reason."""


_WANTS_COMMAND_NAME = (
    signature(redis.ConnectionPool.get_connection).parameters["command_name"].default is Parameter.empty
)
"""Whether redis-py's pool, as of version 5.0, wants to be told for which command a connection is taken."""

_POOLS_OWN_OPTIONS = ("maint_", "orig_", "event_dispatcher", "connection_pool")
"""Beginnings of options that a pool of redis-py 7 and later makes for itself: they bind it to that pool."""


def client(settings: Settings, *, socket_timeout_s: float, protocol: int = 2) -> Client:
    """Return a client on a pool of its own; nothing is connected yet. Replies are bytes.

    redis-py's own retries are off: a call that is repeated must be one that we know to be repeatable. What is set here
    holds whatever an alias, or a URL's `?name=value`, says of it.
    Raise ConfigurationError if REDIS names neither a URL nor a django-redis cache alias.
    """
    options: dict[str, Any] = {
        "decode_responses": False,
        "retry": Retry(NoBackoff(), 0),
        "retry_on_timeout": False,
        "socket_timeout": socket_timeout_s,
        "socket_connect_timeout": min(CONNECT_TIMEOUT_S, socket_timeout_s),
        "health_check_interval": 0,
        "max_connections": NO_LIMIT,
        "protocol": protocol,
    }
    try:
        return redis.Redis(connection_pool=_pool(address(settings), options))
    except ValueError as error:  # redis-py's, for a URL it cannot read; its text does not repeat the password
        source = "SIDEKICK['REDIS']" if settings.redis else "REDIS_URL"
        raise ConfigurationError(f"{source} is no address of a Redis: {error}") from error


class DirectConnection:
    """One connection past redis-py's client, for a caller that makes one call at a time: half the cost of a call.

    Connects at the first call, and again after an error of the connection, which passes to the caller.
    """

    def __init__(self, client: Client) -> None:
        self._pool: Pool = client.connection_pool
        self._link: Any = None

    def execute_command(self, *words: Any) -> Any:
        """Send one command and return its reply, as redis-py's client does, without any retry.

        Whatever ends a call half way, a signal's handler too, drops the connection: a reply that is still to be read
        must not answer the next command. So does a server that only reads.
        """
        if self._link is None:
            self._link = take(self._pool)
        try:
            self._link.send_command(*words)
            return self._link.read_response()
        except redis.ResponseError as error:
            if is_demoted(error):
                self.close()
            raise
        except BaseException:
            self.close()
            raise

    def execute_together(self, *commands: Sequence[Any]) -> list[Any]:
        """Send commands in one write and return their replies; one that is an error stands in its place.

        An error of the connection closes it and passes.
        """
        if self._link is None:
            self._link = take(self._pool)
        try:
            self._link.send_packed_command(self._link.pack_commands(commands))
            return [reply_of(self._link) for _ in commands]
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Drop the connection."""
        link, self._link = self._link, None
        if link is not None:
            link.disconnect()
            self._pool.release(link)


class DirectPool:
    """As many direct connections as callers speak at once; each is kept for the next caller.

    None is looked at before it is used, as redis-py's pool does: what is sent here may be sent again.
    """

    def __init__(self, client: Client) -> None:
        self._client = client
        self._idle: deque[DirectConnection] = deque()

    def execute_command(self, *words: Any) -> Any:
        """As a direct connection does."""
        one = self._take()
        try:
            return one.execute_command(*words)
        finally:
            self._idle.append(one)

    def execute_together(self, *commands: Sequence[Any]) -> list[Any]:
        """As a direct connection does."""
        one = self._take()
        try:
            return one.execute_together(*commands)
        finally:
            self._idle.append(one)

    def _take(self) -> DirectConnection:
        try:
            return self._idle.pop()
        except IndexError:
            return DirectConnection(self._client)


def reply_of(link: Any) -> Any:
    """Return the next reply of a connection, or the error that it is."""
    try:
        return link.read_response()
    except redis.ResponseError as error:
        return error


def call(client: Client, *words: Any) -> Any:
    """Send one command over a connection of the client's pool and return its reply: a third cheaper than its own way.

    No retry; an error of the connection closes it and passes.
    """
    pool: Pool = client.connection_pool
    link = take(pool)
    try:
        link.send_command(*words)
        return link.read_response()
    except redis.ResponseError as error:
        if is_demoted(error):
            link.disconnect()
        raise
    finally:
        pool.release(link)


def is_demoted(error: Exception) -> bool:
    """Tell whether the server only reads: behind the same name there may be another one by now, for new connections."""
    return isinstance(error, redis.ResponseError) and (
        isinstance(error, redis.exceptions.ReadOnlyError) or "READONLY" in str(error)
    )


def leave_demoted(client: Client, error: Exception) -> None:
    """Close the connections of the client's pool that wait to be used, if the server behind them only reads."""
    if is_demoted(error):
        client.connection_pool.disconnect(inuse_connections=False)


def take(pool: Pool) -> Any:
    """Return a connected connection of a pool."""
    return pool.get_connection("EVALSHA") if _WANTS_COMMAND_NAME else pool.get_connection()


def replies(pipeline: Any) -> list[Any]:
    """Return what a pipeline answers, None for a key of another type than its command. Raise the first other error."""
    answers = pipeline.execute(raise_on_error=False)
    for index, answer in enumerate(answers):
        if isinstance(answer, Exception):
            if not str(answer).startswith("WRONGTYPE"):
                raise answer
            answers[index] = None
    return list(answers)


def worker_client(settings: Settings) -> Client:
    """Return a client for one of the worker's few callers: no short time-out, for a call may block for 2 s."""
    return client(settings, socket_timeout_s=WORKER_SOCKET_TIMEOUT_S)


def address(settings: Settings) -> str:
    """Return the cache alias or the URL that REDIS means: unset, the environment's REDIS_URL, else loopback."""
    if isinstance(settings.redis, str):
        return settings.redis
    if settings.redis:
        raise ConfigurationError(
            "SIDEKICK['REDIS'] is a list of shards, which this version cannot serve yet: name one server."
        )
    return os.environ.get("REDIS_URL") or DEFAULT_URL


def location(connection: Client) -> tuple[str, int]:
    """Return host (or socket path) and port (0 for a socket) of a client."""
    options = connection.connection_pool.connection_kwargs
    if "path" in options:
        return str(options["path"]), 0
    return str(options.get("host", "localhost")), int(options.get("port", 6379))


def place(connection: Client) -> str:
    """Return the same as people write it: host:port, or the socket's path."""
    host, port = location(connection)
    return f"{host}:{port}" if port else host


def start_embedded(connection: Client, is_over: Callable[[], bool]) -> bool:
    """Start the development server if this refused address is one it may serve. Return True if it answers now.

    Give up when `is_over`: the process ends.
    """
    return embedded.autostart(*location(connection), is_over)


def _pool(where: str, options: dict[str, Any]) -> Pool:
    if "://" in where:
        return redis.ConnectionPool(**{**parse_url(where), **options})
    caches = getattr(django_settings, "CACHES", {})
    if where not in caches:
        raise ConfigurationError(
            f"SIDEKICK['REDIS'] is {where!r}: neither a URL (redis://…, rediss://…, unix://…) nor one of "
            f"the cache aliases {', '.join(sorted(caches)) or '(none)'}."
        )
    return _pool_of_alias(where, options)


def _pool_of_alias(alias: str, options: dict[str, Any]) -> Pool:
    """Copy the alias' pool settings: a pool that is shared with the cache may have short timeouts."""
    try:
        shared = get_redis_connection(alias, write=True).connection_pool
    except NotImplementedError as error:
        raise ConfigurationError(
            f"SIDEKICK['REDIS'] names the cache {alias!r}, whose backend is not django-redis'."
        ) from error
    kept = {name: v for name, v in shared.connection_kwargs.items() if not name.startswith(_POOLS_OWN_OPTIONS)}
    kwargs = {**kept, **options}
    if isinstance(shared, SentinelConnectionPool):
        make: Any = SentinelConnectionPool
        return make(shared.service_name, shared.sentinel_manager, is_master=shared.is_master, **kwargs)
    return redis.ConnectionPool(connection_class=shared.connection_class, **kwargs)
