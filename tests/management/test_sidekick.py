from __future__ import annotations

import json
import logging

import pytest
from django.core.management import CommandError, call_command

from django_sidekick.exceptions import ConfigurationError
from django_sidekick.management.commandline import CommandLine, worker_options
from django_sidekick.management.workers import Crew
from django_sidekick.worker import configfile

JID = "d" * 24


def dead(redis):
    redis.zadd("dead", {json.dumps({"class": "A", "args": [], "queue": "q", "jid": JID, "retry": True}): 5})


def test_status_prints_the_seven_numbers_and_the_queues(redis, capsys):
    redis.sadd("queues", "low")
    redis.lpush("queue:low", "x")

    call_command("sidekick", "status")

    out = capsys.readouterr().out
    assert [line.split()[0] for line in out.splitlines()[:7]] == ["processed", "failed", "busy", "enqueued", "retry", "schedule", "dead"]
    assert "queue low" in out
    assert "dropped" not in out


def test_status_says_how_many_events_of_the_history_were_dropped(redis, capsys):
    redis.set("sk:events:dropped", 17)

    call_command("sidekick", "status")

    assert "history    17 events were dropped\n" in capsys.readouterr().out


def test_dead_jobs_are_revived_and_deleted(redis, capsys):
    dead(redis)
    call_command("sidekick", "retry", JID)
    assert redis.llen("queue:q") == 1

    call_command("sidekick", "kill", JID)
    assert redis.zcard("dead") == 1

    call_command("sidekick", "delete", JID)
    assert redis.zcard("dead") == 0
    assert "delete: 1 of 1" in capsys.readouterr().out


def test_a_jid_that_is_nowhere_is_an_error(redis):
    with pytest.raises(CommandError, match=JID):
        call_command("sidekick", "retry", JID)


@pytest.mark.parametrize("timeout_s", [float("nan"), float("inf"), -1.0])
def test_a_timeout_that_is_no_time_is_refused(timeout_s):
    with pytest.raises(ConfigurationError, match="-t must be seconds from 0"):
        worker_options(CommandLine(timeout_s=timeout_s))


def test_redis_away_is_an_error_in_words(settings):
    settings.SIDEKICK = {"REDIS": "redis://127.0.0.1:1/0", "ENQUEUE_TIMEOUT": 0.1}

    with pytest.raises(CommandError, match="away"):
        call_command("sidekick", "status")


class TestSidekiqYml:
    def read(self, tmp_path, text, environment=""):
        file = tmp_path / "sidekiq.yml"
        file.write_text(text)
        return configfile.read(file, environment)

    def test_sidekiqs_own_words(self, tmp_path):
        text = ":concurrency: 5\nmax_retries: 8\n:timeout: 9\n:queues:\n  - critical\n  - [default, 2]\n  - low,3\nproduction:\n  :concurrency: 25\n"

        options = self.read(tmp_path, text)
        assert (options["concurrency"], options["max_retries"], options["timeout"]) == (5, 8, 9)
        assert options["queues"] == (("critical", 1), ("default", 2), ("low", 3))
        assert self.read(tmp_path, text, "production")["concurrency"] == 25

    def test_the_file_may_name_its_environment(self, tmp_path):
        text = ":environment: production\n:concurrency: 5\nproduction:\n  :concurrency: 25\nstaging:\n  :concurrency: 7\n"

        assert self.read(tmp_path, text)["concurrency"] == 25
        assert self.read(tmp_path, text, "staging")["concurrency"] == 7

    def test_a_section_may_be_empty_beside_another(self, tmp_path):
        text = ":concurrency: 5\ndevelopment:\nproduction:\n  :concurrency: 25\n"

        assert self.read(tmp_path, text, "development") == {"concurrency": 5}
        assert self.read(tmp_path, text, "production") == {"concurrency": 25}

    def test_queues_may_be_symbols(self, tmp_path):
        assert self.read(tmp_path, ":queues:\n  - :default\n  - [':low', 2]\n")["queues"] == (("default", 1), ("low", 2))
        assert self.read(tmp_path, ":queues:\n  :default: 3\n  :low: 1\n")["queues"] == (("default", 3), ("low", 1))

    def test_sidekiqs_limits_of_the_dead_set(self, tmp_path):
        file = tmp_path / "x.yml"
        file.write_text(":dead_max_jobs: 50\n:dead_timeout_in_seconds: 15552000\n:average_scheduled_poll_interval: 5\n")

        settings = worker_options(CommandLine(config_file=str(file))).settings
        assert (settings.dead_max_jobs, settings.dead_timeout_s) == (50, 180 * 86_400)

    def test_verbose_shows_the_jobs_debug_records(self, tmp_path):
        file = tmp_path / "x.yml"
        file.write_text(":verbose: true\n")
        options = worker_options(CommandLine(config_file=str(file)))
        log, handlers = logging.getLogger("sidekick"), list(logging.getLogger("sidekick").handlers)
        level, propagate, factory = log.level, log.propagate, logging.getLogRecordFactory()
        try:
            Crew(options)
            assert logging.getLogger("sidekick.job.SomeJob").isEnabledFor(logging.DEBUG)
        finally:
            log.setLevel(level)
            log.propagate, log.handlers = propagate, handlers
            logging.setLogRecordFactory(factory)

    def test_names_alone_are_strict(self, tmp_path):
        assert self.read(tmp_path, ":queues: [a, b]")["queues"] == (("a", 0), ("b", 0))
        assert self.read(tmp_path, ":queues: {a: 2, b: 1}")["queues"] == (("a", 2), ("b", 1))
        assert self.read(tmp_path, "") == {}

    @pytest.mark.parametrize(
        ("text", "says"),
        [
            (":concurrency: <%= 5 %>", "ERB"),
            (":concurrency: x", "whole number"),
            (":concurrency: 0", "from 1"),
            (":concurency: 5", "Did you mean `concurrency`"),
            (":environment: 5", "`environment` must be"),
            (":verbose: 5", "`verbose` must be"),
            (":dead_max_jobs: 1", "from 2"),
            (":dead_timeout_in_seconds: soon", "whole number"),
            (":dead_timeout_in_seconds: 9999999999", "from 0 to 3,162,240,000"),
            (":queus: {a: 2}", "`queus` is no option .* Did you mean `queues`"),
            ("production: {concurency: 5}", "`concurency` is no option either. Did you mean `concurrency`"),
            ("production: {capsules: {}, concurrency: 5}\nenvironment: production", "`capsules` is not served"),
            ("limits: {mail: 5}", "`limits` is no option .* Known are concurrency"),
            ("production:", "`production` is no option"),
            (":queues: 5", "list of names"),
            (":queues: [[a, b, c]]", "neither"),
            (":queues: [[a, b]]", "weight"),
            (":queues: ['']", "no queue's name"),
            ("[1, 2]", "must map"),
            ("a: [", "no YAML"),
            ("\t", "no YAML"),
            (":capsules:\n  x: 1", "capsules"),
            ("!!python/object:os.system {}", "no YAML"),
        ],
    )
    def test_what_cannot_be_served_is_said_with_the_file(self, tmp_path, text, says):
        with pytest.raises(ConfigurationError, match=says) as caught:
            self.read(tmp_path, text)

        assert "sidekiq.yml" in str(caught.value)

    def test_the_command_line_wins_over_the_file(self, tmp_path):
        file = tmp_path / "x.yml"
        file.write_text(":concurrency: 5\n:max_retries: 8\n:queues: [a]\n")

        options = worker_options(CommandLine(config_file=str(file), concurrency=7, queues=("b,2",)))
        assert (options.concurrency, options.queues, options.settings.max_retries) == (7, (("b", 2),), 8)

    def test_without_pyyaml_it_is_said_so(self, tmp_path, monkeypatch):
        monkeypatch.setattr(configfile, "yaml", None)

        with pytest.raises(ConfigurationError, match="yaml"):
            self.read(tmp_path, ":concurrency: 5")


def test_queues_are_paused_and_resumed(redis, capsys):
    redis.sadd("queues", "mail")
    call_command("sidekick", "pause", "mail", "low")
    call_command("sidekick", "pause", "mail")
    call_command("sidekick", "status")
    assert redis.smembers("paused") == {b"mail", b"low"}
    call_command("sidekick", "resume", "mail", "low")
    assert redis.smembers("paused") == set()

    said = capsys.readouterr().out
    assert "pause: mail, low" in said
    assert "pause: nothing to do" in said
    assert "paused" in said.split("queue mail")[1].split("\n")[0]
