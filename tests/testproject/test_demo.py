"""`make demo`: what it prints, what it leaves behind, and how it fails."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
from http.cookiejar import CookieJar
from pathlib import Path
from urllib.parse import urlencode, urlsplit
from urllib.request import HTTPCookieProcessor, Request, build_opener

import pytest
from django.core.exceptions import ImproperlyConfigured
from PIL import Image

from testproject import demo
from testproject.customer import picture
from testproject.database import database
from testproject.servers import answers, reason
from tests.conftest import wait_until
from tests.testproject.conftest import ROOT

HEADER = ["job class", "enqueued", "processed", "failed", "retried", "scheduled"]
FOREIGN = {"foreign": b"1", "stat:processed": b"7"}


@pytest.fixture
def stage(tmp_path, redis, redis_url):
    """Start the second stage over the session's Redis, which holds other data too."""
    for name, value in FOREIGN.items():
        redis.set(name, value)
    started = []

    def start(**environment: str) -> subprocess.Popen[str]:
        surroundings = {demo.SECOND_STAGE: "1", "REDIS_URL": redis_url, "DATABASE_URL": "", "ONCE": "1"}
        (tmp_path / "temp").mkdir()
        process = subprocess.Popen(
            [sys.executable, "-m", "testproject.demo"],
            cwd=ROOT,
            env={**os.environ, "TMPDIR": str(tmp_path / "temp"), **surroundings, **environment},
            stdout=(tmp_path / "out").open("w"),
            stderr=(tmp_path / "err").open("w"),
        )
        started.append(process)
        return process

    yield start
    for process in started:
        if process.poll() is None:
            process.send_signal(signal.SIGINT)
            process.wait(60)


def table(text: str) -> list[list[str]]:
    lines = text.splitlines()
    first = next(number for number, line in enumerate(lines) if line.startswith("job class"))
    return [re.split(r"\s{2,}|(?<=\d)\s+", line.strip()) for line in lines[first:]]


def test_once_ends_by_itself_with_a_table_and_leaves_nothing(stage, tmp_path, redis):
    code = stage().wait(120)

    errors, output = (tmp_path / "err").read_text(), (tmp_path / "out").read_text()
    assert code == 0, errors
    header, *rows, total = table(output)
    numbers = {name: [int(cell) for cell in cells] for name, *cells in rows}
    assert header == HEADER
    assert (total[0], [int(cell) for cell in total[1:]]) == ("Total", [sum(c) for c in zip(*numbers.values(), strict=True)])
    assert numbers["CleanUpOrderJob"] == [13, 1, 0, 0, 12]
    assert numbers["ConfirmOrderJob"] == numbers["ThumbnailJob"] == [6, 6, 0, 0, 0]
    assert numbers["ImportRegionsJob"] == [11, 11, 0, 0, 0]
    enqueued, processed, failed, retried, scheduled = numbers["QuoteJob"]
    assert (enqueued, processed, scheduled, failed) == (6, 6, 0, retried)
    assert failed >= 1
    assert {name.decode(): redis.get(name) for name in redis.keys("*")} == FOREIGN
    assert list((tmp_path / "temp").glob("sidekick-shop-*")) == []
    port = int(re.search(r"shop +http://127\.0\.0\.1:(\d+)/", output)[1])
    assert not answers(port)


def test_the_shop_runs_on_postgresql(stage, tmp_path, postgresql_url):
    code = stage(DATABASE_URL=postgresql_url).wait(120)

    assert code == 0, (tmp_path / "err").read_text()
    assert table((tmp_path / "out").read_text())[-1][0] == "Total"


def test_the_admin_is_open_to_the_printed_account_and_has_something_of_everything_to_see(stage, tmp_path, redis):
    stage(ONCE="0")
    wait_until(lambda: "Ctrl-C stops all" in (tmp_path / "err").read_text(), "the orders", 60)
    output = (tmp_path / "out").read_text()
    admin, name, password = re.search(r"^admin +(\S+) +\((\w+), (\S+)\)$", output, re.MULTILINE).groups()
    live = re.search(r"^live +(\S+)$", output, re.MULTILINE)[1]

    browser = build_opener(HTTPCookieProcessor(cookies := CookieJar()))
    browser.open(f"{admin}login/", timeout=30).read()
    token = next(cookie.value for cookie in cookies if cookie.name == "csrftoken")
    form = {"username": name, "password": password, "next": urlsplit(live).path, "csrfmiddlewaretoken": token}
    with browser.open(Request(f"{admin}login/", urlencode(form).encode(), {"Referer": admin}), timeout=30) as answer:
        assert (answer.status, answer.url) == (200, live)
        assert "default-src 'self'" in answer.headers["Content-Security-Policy"]

    prefix = next(key for key in redis.keys("shop-*:queues")).removesuffix(b"queues")
    for name in ("dead", "retry", "schedule"):
        wait_until(lambda name=name: redis.zcard(prefix + name.encode()), name, 30)
    assert redis.smembers(prefix + b"paused") == {b"newsletter"}
    assert redis.llen(prefix + b"queue:newsletter")
    wait_until(lambda: b"TakeStockJob" in b"".join(b"".join(redis.hvals(key)) for key in redis.keys(prefix + b"*:work")), "a running job", 30)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_stops_all_of_it(stage, tmp_path, redis, number):
    process = stage(ONCE="0")
    wait_until(lambda: "Ctrl-C stops all" in (tmp_path / "err").read_text(), "the orders", 60)

    process.send_signal(number)

    assert process.wait(60) == 0
    output = (tmp_path / "out").read_text()
    assert table(output)[-1][0] == "Total"
    assert not answers(int(re.search(r"shop +http://127\.0\.0\.1:(\d+)/", output)[1]))
    assert {name.decode(): redis.get(name) for name in redis.keys("*")} == FOREIGN
    assert list((tmp_path / "temp").glob("sidekick-shop-*")) == []


@pytest.mark.parametrize(
    ("environment", "message"),
    [
        ({"REDIS_URL": "redis://:hidden-word@127.0.0.1:1/0"}, "Redis does not answer"),
        ({"DATABASE_URL": "mysql://shop:hidden-word@localhost/shop"}, "DATABASE_URL must be"),
        ({"DATABASE_URL": "postgresql://shop:hidden-word@127.0.0.1:1/shop"}, "manage.py migrate --verbosity 0 failed"),
    ],
    ids=["redis", "url", "database"],
)
def test_a_step_that_fails_ends_the_demo_in_clear_words(stage, tmp_path, environment, message):
    code = stage(**environment).wait(60)

    errors = (tmp_path / "err").read_text()
    assert code == 1
    assert f"The demo failed. {message}" in errors
    assert "Traceback" not in errors
    assert "hidden-word" not in errors
    assert list((tmp_path / "temp").glob("sidekick-shop-*")) == []


def test_packages_that_cannot_be_installed_end_the_first_stage(tmp_path):
    for name in ("testproject/demo.py", "setup.cfg", "pyproject.toml"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)
    environment = {**os.environ, "PIP_NO_INDEX": "1", "PIP_FIND_LINKS": "", "REDIS_URL": "redis://127.0.0.1:1/0"}
    done = subprocess.run(
        [sys.executable, "testproject/demo.py"], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )

    assert done.returncode == 1
    assert "The packages could not be installed: " in done.stderr
    assert not (tmp_path / ".venv" / ".demo-installed").exists()


def test_the_first_stage_uses_the_standard_library_alone():
    code = "import sys, testproject.demo; print(sorted({n.partition('.')[0] for n in sys.modules} - {*sys.stdlib_module_names, '__main__'}))"
    done = subprocess.run([sys.executable, "-S", "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)

    assert done.stdout.strip() == "['testproject']"


def test_a_server_and_a_driver_are_installed_only_where_they_are_needed(monkeypatch):
    monkeypatch.delenv("DATABASE_URL", raising=False)
    monkeypatch.delenv("REDIS_URL", raising=False)
    monkeypatch.setenv("PATH", "")
    assert demo.requirements() == ["-e", ".[demo,server]"]

    monkeypatch.setenv("REDIS_URL", "redis://127.0.0.1:6379/0")
    monkeypatch.setenv("DATABASE_URL", "postgresql://localhost/shop")
    assert demo.requirements() == ["-e", ".[demo]", "psycopg[binary]>=3.2"]


def test_a_python_that_is_not_there_does_not_run(tmp_path):
    assert not demo.runs(tmp_path / "python")
    assert demo.runs(Path(sys.executable))


def test_database_urls_are_read():
    found = database("postgresql://me:p%40ss@[::1]:5433/my%20shop?sslmode=require", Path("x"))

    assert found == {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": "my shop", "USER": "me", "PASSWORD": "p@ss", "HOST": "::1", "PORT": "5433",
        "OPTIONS": {"sslmode": "require"},
    }  # fmt: skip
    assert database("", Path("x"))["NAME"] == Path("x")


@pytest.mark.parametrize("url", ["mysql://a:hidden@b/c", "postgresql://a:hidden@b", "postgresql://a:hidden@b:x/c", "shop.db"])
def test_other_database_urls_are_refused_without_their_password(url):
    with pytest.raises(ImproperlyConfigured) as caught:
        database(url, Path("x"))

    assert "hidden" not in str(caught.value)


def test_the_customers_picture_is_a_picture(tmp_path):
    (tmp_path / "made.png").write_bytes(picture(30, 20))

    with Image.open(tmp_path / "made.png") as made:
        made.load()
        assert (made.size, made.mode, made.getpixel((0, 0))) == ((30, 20), "RGB", (0, 120, 200))


def test_of_a_traceback_the_error_is_told():
    text = "Traceback (most recent call last):\n  File x\na.b.OperationalError: no\n\tserver\n"

    assert reason(text) == "a.b.OperationalError: no\n\tserver"
    assert reason("CommandError: bad") == "CommandError: bad"
    assert reason("plain words") == "plain words"
