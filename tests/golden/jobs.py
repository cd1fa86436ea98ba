"""The jobs of the samples, in Python."""

from __future__ import annotations

from django_sidekick import BaseJob
from django_sidekick.broker import connection
from django_sidekick.conf import get_settings

AWAY = {"error_class", "error_message"}
"""Fields whose text is each language's own."""


class Echo(BaseJob):
    class_name = "Echo"

    def perform(self, *args):
        pass


class Fail(BaseJob):
    class_name = "Fail"

    def perform(self, *args):
        raise ValueError(f"Fail asked to fail with {args}")


class ZeroRetry(Fail):
    class_name = "ZeroRetry"


class NoRetry(Fail):
    class_name = "NoRetry"
    retry = False


class Sleeper(BaseJob):
    class_name = "Sleeper"

    def perform(self, *args):
        client = connection.client(get_settings(), socket_timeout_s=70)
        client.rpush("began", "1")
        client.blpop(["never"], 60)
