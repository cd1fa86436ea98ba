"""What stands beside the package: hooks and containers that would fail only on somebody else's machine."""

from __future__ import annotations

import configparser
import re
from pathlib import Path
from urllib.parse import urlsplit

import yaml
from django.core.management import get_commands

from django_sidekick.worker.supervisor import KILL_AFTER_S

ROOT = Path(__file__).resolve().parent.parent.parent


def compose():
    return yaml.safe_load((ROOT / "compose.yaml").read_text("utf-8"))["services"]


def shop_services():
    return {name: service for name, service in compose().items() if "build" in service}


def test_hooks_bring_what_they_need():
    config = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text("utf-8"))

    hooks = [hook for repo in config["repos"] for hook in repo["hooks"]]
    assert hooks
    for hook in hooks:
        assert hook["language"] == "python", "a system hook fails in a bare clone"
        assert hook["additional_dependencies"]


def test_developers_get_the_tools_that_the_papers_name():
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg")

    names = {re.split(r"[><=\[ ]", line)[0] for line in setup["options.extras_require"]["dev"].split("\n") if line}
    assert {"tox", "pre-commit", "ruff", "mypy", "import-linter", "sphinx", "pytest"} <= names


def test_the_containers_of_the_shop_share_database_redis_media_and_mail():
    services = shop_services()

    assert {"migrate", "web", "worker", "mail"} == set(services)
    for service in services.values():
        assert service["environment"] == services["web"]["environment"]
    assert services["web"]["volumes"] == services["worker"]["volumes"]
    environment = services["web"]["environment"]
    urls = ("DATABASE_URL", "REDIS_URL", "SHOP_CARRIER_URL")
    assert [urlsplit(environment[key]).hostname for key in urls] == ["database", "redis", "web"]
    assert environment["SHOP_SMTP_HOST"] == "mail"
    assert "web" in environment["SHOP_HOSTS"].split(",")


def test_nothing_of_the_shop_starts_before_its_tables_are_there():
    for name in ("web", "worker"):
        waits_for = compose()[name]["depends_on"]
        assert waits_for["migrate"]["condition"] == "service_completed_successfully"
        assert waits_for["redis"]["condition"] == "service_healthy"


def test_a_container_has_time_to_end_its_jobs():
    options = yaml.safe_load((ROOT / "config" / "sidekiq.yml").read_text("utf-8"))

    grace_s = int(compose()["worker"]["stop_grace_period"].removesuffix("s"))
    assert grace_s > options[":timeout"] + KILL_AFTER_S


def test_redis_in_the_container_keeps_what_it_holds():
    command = " ".join(compose()["redis"]["command"])

    assert "--appendonly yes" in command
    assert "--maxmemory-policy noeviction" in command


def test_commands_in_containers_exist():
    known = {*get_commands(), "load_shop", "runserver"}
    for service in compose().values():
        for verb in re.findall(r"manage\.py (\w+)", str(service.get("command", ""))):
            assert verb in known


def test_the_container_is_not_root_and_copies_nothing_of_the_working_tree_by_chance():
    lines = (ROOT / "Dockerfile").read_text("utf-8").splitlines()

    assert any(line.startswith("USER ") and line != "USER root" for line in lines)
    ignored = (ROOT / ".dockerignore").read_text("utf-8").split()
    assert {".git", ".venv", ".sidekick", "testproject/var"} <= set(ignored)
