"""Redis for people: what all parts of a page ask goes in the same few round trips, and acts go through it too."""

from __future__ import annotations

import os
from collections.abc import Generator, Mapping, Sequence
from functools import cache
from typing import Any, TypeAlias

import redis

from django_sidekick.broker import broker, connection
from django_sidekick.broker.keys import Keys
from django_sidekick.broker.patience import unavailable
from django_sidekick.conf import Settings, get_settings
from django_sidekick.exceptions import BrokerUnavailable

PATIENCE_S = 0.45
"""For a connection, and again for a reply: a page says within a second that Redis is away."""

MOST_READ = 1_000
"""Members that one page may read of a queue or set."""

Command: TypeAlias = tuple[Any, ...]

Question: TypeAlias = Generator[list[Command], list[Any], Any]
"""Yields the commands of one round trip, is sent their replies, yields the next, returns what it found out.

A reply is what the server says in RESP2 (of a hash a flat list, of INFO a text), whatever redis-py would make of
it; or its ResponseError, where that is for the question to judge: for a key of an unexpected type, and for INFO.
"""


class Console:
    """Ask Redis for people: few round trips, little patience, nothing repeated. Safe to share between threads."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.keys = Keys(settings.key_prefix)
        self.client = connection.client(settings, socket_timeout_s=PATIENCE_S)

    def ask(self, questions: Mapping[str, Question]) -> dict[str, Any]:
        """Return each question's answer by its name. As many round trips as the longest question has yields.

        Raise BrokerUnavailable, with the address, if Redis is away or says something that nobody expects.
        """
        answers: dict[str, Any] = {}
        asking: dict[str, list[Command]] = {}
        for name, question in questions.items():
            _advance(name, question, None, asking, answers)
        while asking:
            replies = iter(self._send([c for commands in asking.values() for c in commands]))
            asked, asking = asking, {}
            for name, commands in asked.items():
                _advance(name, questions[name], [next(replies) for _ in commands], asking, answers)
        return answers

    def run(self, name: str, keys: Sequence[str], words: Sequence[Any]) -> Any:
        """Run `broker/scripts/NAME.lua` and return its reply. Raise BrokerUnavailable as ask() does.

        Not repeated: if only the reply was lost, the script has been carried out. Names go as ask() sends them.
        """
        try:
            named = [list(map(as_it_came, some)) for some in (keys, words)]
            return broker.run(self.client, name, *named)
        except (redis.RedisError, OSError) as error:
            raise self._unavailable(error) from error

    def change(self, commands: Sequence[Command]) -> list[Any]:
        """Carry out all these commands in one MULTI and return their replies. Raise BrokerUnavailable as ask() does.

        Not repeated: if only the reply was lost, they have been carried out.
        """
        try:
            return _piped(self.client, commands, transaction=True)
        except (redis.RedisError, OSError) as error:
            raise self._unavailable(error) from error

    def _send(self, commands: list[Command]) -> list[Any]:
        if not commands:
            return []
        try:
            replies: list[Any] = _piped(self.client, commands)
        except (redis.RedisError, OSError) as error:
            raise self._unavailable(error) from error
        for command, reply in zip(commands, replies, strict=True):
            if isinstance(reply, redis.ResponseError) and not _is_expected(command, reply):
                raise self._unavailable(reply)
        return replies

    def _unavailable(self, error: Exception) -> BrokerUnavailable:
        return unavailable(connection.place(self.client), error)


def answer(client: connection.Client, question: Question) -> Any:
    """Ask one question over another client, and return its answer. Errors of the connection pass."""
    try:
        commands = next(question)
        while True:
            commands = question.send(_piped(client, commands) if commands else [])
    except StopIteration as end:
        return end.value


def _piped(client: connection.Client, commands: Sequence[Command], *, transaction: bool = False) -> list[Any]:
    """Return the replies to all, in one round trip. Errors stand among them; in a transaction the first one is raised.

    Names that are no UTF-8 are sent as the bytes that they came as. So are the commands: redis-py changes no reply
    then, whichever its version.
    """
    pipeline = client.pipeline(transaction=transaction)
    for command in commands:
        pipeline.execute_command(*map(as_it_came, command))
    replies: list[Any] = pipeline.execute(raise_on_error=transaction)
    return replies


def as_it_came(word: Any) -> Any:
    """Return a name of replies.names_in() as the bytes that Redis knows, and anything else as it is.

    Other lone surrogates go as bytes that nobody's name has.
    """
    if not isinstance(word, str):
        return word
    try:
        return word.encode(errors="surrogateescape")
    except UnicodeEncodeError:
        return word.encode(errors="surrogatepass")


def get_console() -> Console:
    """Return this process' Console for the settings in force. Opens no connection."""
    return _console(get_settings(), os.getpid())


@cache
def _console(settings: Settings, pid: int) -> Console:  # a forked child needs its own
    return Console(settings)


def _is_expected(command: Command, error: redis.ResponseError) -> bool:
    """Tell whether it is for the question to judge. Not everybody may ask for INFO; no list depends on it."""
    return "WRONGTYPE" in str(error) or command == ("INFO",)


def _advance(
    name: str,
    question: Question,
    replies: list[Any] | None,
    asking: dict[str, list[Command]],
    answers: dict[str, Any],
) -> None:
    try:
        asking[name] = next(question) if replies is None else question.send(replies)
    except StopIteration as end:
        answers[name] = end.value
