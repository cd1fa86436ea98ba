"""A supervisor and its children, seen from outside."""

from __future__ import annotations

from pathlib import Path

from django_sidekick.worker import keeper
from tests.conftest import wait_until

BEATS_OFTEN = """
from django_sidekick.worker import display
display.BEAT_S = 1.0
"""
"""For a settings module: a beat each second instead of every ten."""

BEAT_AND_SLACK_S = 8.0
"""Until such a beat has come, on a busy machine; sooner than one of every ten seconds would."""

NEVER = 10**9
NOTHING_COMES_BACK = f"""
from django_sidekick.worker import keeper
keeper.STUCK_TICKS = {NEVER}
"""
"""For a settings module: what waits behind a long job stays there, where the keeper would give it back within 30 ms."""


def let_nothing_come_back(monkeypatch):
    """As NOTHING_COMES_BACK, for workers in this process."""
    monkeypatch.setattr(keeper, "STUCK_TICKS", NEVER)


def members(redis):
    """Return pid -> identity of all that Sidekiq's pages would list."""
    return {int(name.split(b":")[1]): name.decode() for name in redis.smembers("processes")}


def children_of(pid):
    return {int(n) for n in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()}


def began_on(redis, count=1):
    wait_until(lambda: redis.llen("began") >= count, "the job to begin")
    return int(redis.lindex("began", -1).split(b":")[1])


def ready(redis, count):
    wait_until(lambda: len(members(redis)) == count, f"{count} members of processes")
    return members(redis)


def state_of(pid):
    """Return the letter of the kernel: Z for a zombie; empty for one that is gone."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except OSError:
        return ""


def is_alive(pid):
    return state_of(pid) not in ("", "Z")


def zombies_of(pid):
    return [child for child in children_of(pid) if state_of(child) == "Z"]


def files_of(pid):
    return len(list(Path(f"/proc/{pid}/fd").iterdir()))


def kept(redis):
    """Return our own keys that should not outlive the workers."""
    return [key for key in redis.keys("sk:*") if not key.startswith(b"sk:push:")]


def settings_module(folder, name, text=""):
    """Write a settings module that a worker imports before all else. Return its environment."""
    (folder / f"{name}.py").write_text(f"from tests.settings import *\nimport os, sys\n{text}")
    return {"DJANGO_SETTINGS_MODULE": name, "PYTHONPATH": f"{folder}:{Path.cwd()}"}
