"""Jobs that the tests run. Each tells what it did through Redis, so that other processes can be watched."""

from __future__ import annotations

import asyncio
import ctypes
import gc
import json
import logging
import os
import signal
import subprocess
import sys
import threading
import time
import warnings
from typing import Any

from django_sidekick import BaseJob
from django_sidekick.broker import connection
from django_sidekick.broker.broker import get_broker
from django_sidekick.conf import get_settings


class EchoJob(BaseJob):
    """Push the arguments to the list `echo`."""

    def perform(self, *args: Any, **kwargs: Any) -> None:
        get_broker().client.rpush("echo", repr((args, kwargs)))


class NoopJob(BaseJob):
    def perform(self, *args: Any) -> None:
        pass


class AddJob(BaseJob):
    def perform(self, one: int, two: int = 2, *, note: str = "") -> int:
        return one + two


class FailJob(BaseJob):
    backtrace = 3

    def perform(self, text: str = "") -> None:
        raise ValueError(f"asked to fail with {text}")


class HookedJob(BaseJob):
    """Fail; each hook makes a text of all that it is told, as people's hooks do."""

    def perform(self, *args: Any, **kwargs: Any) -> None:
        raise ValueError(f"asked to fail with {args}")

    def retry_in(self, count: int, error: BaseException) -> float | None:
        return self.text_of("retry_in", count, error)

    def retries_exhausted(self, error: BaseException) -> None:
        self.text_of("retries_exhausted", error)

    def after_death(self, error: BaseException) -> None:
        self.text_of("after_death", error)

    def text_of(self, *told: Any) -> None:
        logging.getLogger("hooks").info("%s", f"{self.jid} {self.payload} {told}")


class FlakyJob(BaseJob):
    """Fail until the key `healed` is set."""

    def perform(self) -> None:
        if not get_broker().client.get("healed"):
            raise ValueError("not yet healed")


class GateJob(BaseJob):
    """Say `began`, then wait until the list `gate` has an entry (BLPOP), then say `ended`."""

    def perform(self, number: int = 0) -> None:
        client = connection.client(get_settings(), socket_timeout_s=70)
        client.rpush("began", f"{number}:{os.getpid()}:{threading.get_ident()}")
        client.blpop(["gate"], 60)
        client.rpush("ended", str(number))


class CoroutineJob(BaseJob):
    async def perform(self, number: int) -> None:
        await asyncio.wait_for(asyncio.get_running_loop().create_future(), 0.001) if number < 0 else None
        loop = id(asyncio.get_running_loop())
        get_broker().client.rpush("loops", f"{threading.get_ident()}:{loop}")


class AsyncGateJob(BaseJob):
    """As GateJob, on the event loop; Redis is asked in a thread, never from the loop."""

    async def perform(self, number: int) -> None:
        client = connection.client(get_settings(), socket_timeout_s=70)
        await asyncio.to_thread(client.rpush, "began", f"{number}:{os.getpid()}")
        await asyncio.to_thread(client.blpop, ["gate"], 60)
        await asyncio.to_thread(client.rpush, "ended", str(number))


class KillJob(BaseJob):
    """Kill its process as soon as `beside` other jobs have begun in it; after so many seconds, or put apart, without them."""

    def perform(self, beside: int = 0, within_s: float = 0.5) -> None:
        client, own = get_broker().client, str(os.getpid()).encode()
        deadline = time.monotonic() + within_s
        while beside > sum(entry.split(b":")[1] == own for entry in client.lrange("began", 0, -1)):
            if time.monotonic() > deadline or client.zcard(f"sk:crashes:{self.jid}") > 1:
                break
            threading.Event().wait(0.01)
        client.rpush("killed", f"{self.jid}:{os.getpid()}")
        os.kill(os.getpid(), signal.SIGKILL)


class MournedJob(KillJob):
    """As KillJob; its hooks tell what they hear, and after_death may kill its process too."""

    def retries_exhausted(self, error: BaseException) -> str:
        self.tell("exhausted", error)
        return "discard"

    def after_death(self, error: BaseException) -> None:
        self.tell("dead", error)
        if self.payload["args"] == [0, "bitter"]:
            os._exit(3)

    def perform(self, beside: int = 0, mood: str = "") -> None:
        super().perform(beside)

    def tell(self, what: str, error: BaseException) -> None:
        get_broker().client.rpush("told", f"{what}:{type(error).__name__}:{self.jid}:{os.getpid()}")


def tell(error: BaseException, context: dict[str, Any]) -> None:
    """An error handler."""
    get_broker().client.rpush("told", f"handler:{type(error).__name__}:{getattr(context.get('job'), 'jid', None)}:{os.getpid()}")


class HoldGilJob(BaseJob):
    """Let no other thread of this process run for so long: C code that never gives the interpreter back."""

    def perform(self, seconds: float) -> None:
        client = get_broker().client
        client.rpush("began", f"0:{os.getpid()}:0")
        ctypes.PyDLL(None).usleep(int(seconds * 1_000_000))
        client.rpush("ended", "0")


class GrowJob(BaseJob):
    kept: list[bytes] = []

    def perform(self, mebibytes: int) -> None:
        self.kept.append(b"x" * (mebibytes << 20))


class TalkJob(BaseJob):
    """Speak in every way that ends on stderr."""

    def perform(self) -> None:
        shop = logging.getLogger("shop")
        shop.warning("two\nlines")
        warnings.warn("old ways", stacklevel=1)
        try:
            raise ValueError("caught")
        except ValueError:
            shop.exception("it failed")
        thread = threading.Thread(target=lambda: 1 / 0)
        thread.start()
        thread.join()
class StampJob(BaseJob):
    """Push the time to the list `stamps`."""

    def perform(self, number: int) -> None:
        get_broker().client.rpush("stamps", f"{time.time()}:{os.getpid()}")


class FactsJob(BaseJob):
    """Tell how signals stand for a program that a job starts, and how many objects the collector leaves alone."""

    def perform(self) -> None:
        status = subprocess.run(["cat", "/proc/self/status"], capture_output=True, text=True, check=True).stdout
        facts: dict[str, Any] = dict(line.split(":\t", 1) for line in status.splitlines() if line.startswith("Sig"))
        get_broker().client.rpush("facts", json.dumps({**facts, "frozen": gc.get_freeze_count()}))


class OrphanJob(BaseJob):
    """Leave a process behind that ends at once."""

    def perform(self) -> None:
        subprocess.run(["sh", "-c", "true & echo $!"], stdout=subprocess.DEVNULL, check=True)


class ForkJob(BaseJob):
    """Fork, and let the copy come back out of perform: by `return`, an error, or the end of the program."""

    def perform(self, how: str) -> None:
        pid = os.fork()
        if pid:
            get_broker().client.rpush("copies", f"{how}:{os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])}")
        elif how == "error":
            raise ValueError("in the copy")
        elif how == "exit":
            sys.exit(5)


class ExitJob(BaseJob):
    """End the process as no job should."""

    def perform(self, code: int) -> None:
        os._exit(code)


if os.environ.get("SIDEKICK_TEST_LISTEN"):
    from tests.app import listeners as listeners
