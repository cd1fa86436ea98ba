from __future__ import annotations

from datetime import timedelta

import pytest

from django_sidekick.conf import build_settings, get_settings
from django_sidekick.exceptions import ConfigurationError


def test_the_defaults_are_those_of_the_design():
    settings = build_settings({})

    assert (settings.max_retries, settings.queues, settings.concurrency) == (25, (("default", 0),), 10)
    assert (settings.shutdown_timeout_s, settings.enqueue_timeout_s) == (25.0, 2.0)
    assert (settings.dead_max_jobs, settings.dead_timeout_s) == (10_000, 180 * 86_400)


def test_an_unknown_key_is_met_with_a_suggestion():
    with pytest.raises(ConfigurationError, match="CONCURENCY.*Did you mean 'CONCURRENCY'"):
        build_settings({"CONCURENCY": 3})


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("CONCURRENCY", 0),
        ("CONCURRENCY", True),
        ("CONCURRENCY", "3"),
        ("MAX_RETRIES", -1),
        ("QUEUES", []),
        ("QUEUES", "default"),
        ("QUEUES", ["a,b"]),
        ("QUEUES", [("a", -1)]),
        ("ENQUEUE", "later"),
        ("HISTORY", "all"),
        ("HISTORY_SAMPLE", 1.5),
        ("HISTORY_SAMPLE", True),
        ("HISTORY_RETENTION", -1),
        ("HISTORY_RETENTION", {"done": 5}),
        ("HISTORY_RETENTION", {"dead": "long"}),
        ("HISTORY_OVERFLOW", "wait"),
        ("HISTORY_STREAM_MAX_MIB", 0),
        ("HISTORY_MAX_ROWS", 0),
        ("ENQUEUE", "durable"),
        ("PROCESSES", -1),
        ("CHILD_MAX_JOBS", 0),
        ("ENQUEUE_TIMEOUT", -1),
        ("ENQUEUE_TIMEOUT", "2"),
        ("ENQUEUE_TIMEOUT", 0),
        ("DEAD_MAX_JOBS", 1),
        ("QUEUES", [f"q{i}" for i in range(257)]),
        ("LOG_JOBS", 1),
        ("LOG_FORMAT", "xml"),
        ("REDIS", 6379),
        ("REDIS", []),
        ("MIDDLEWARE", "a.b"),
        ("WIRE_TIMES", "hours"),
        ("MAX_PAYLOAD_BYTES", 0),
        ("RUNTIME_DIR", 5),
        ("KEY_PREFIX", None),
    ],
)
def test_a_bad_value_names_its_key(key, value):
    with pytest.raises(ConfigurationError, match=key):
        build_settings({key: value})


@pytest.mark.parametrize(
    ("value", "says"),
    [
        ([5], "must hold names or pairs of a name and a weight, and 5 is neither"),
        ([["a"]], r"and \['a'\] is neither"),
        ([("a", 1, 2)], "is neither"),
        ([{"a": 1}], "is neither"),
        ("default", r"must be a list of names or of \(name, weight\) pairs, or a dict"),
        (["ab", b"ab"], "is neither"),
    ],
)
def test_queues_that_cannot_be_read_are_met_with_how_to_write_them(value, says):
    with pytest.raises(ConfigurationError, match=says):
        build_settings({"QUEUES": value})


def test_sidekick_must_be_a_dict():
    with pytest.raises(ConfigurationError, match="must be a dict"):
        build_settings(["REDIS"])


def test_durations_are_seconds_or_timedeltas():
    settings = build_settings({"SHUTDOWN_TIMEOUT": timedelta(minutes=1), "ENQUEUE_TIMEOUT": 0.5})

    assert (settings.shutdown_timeout_s, settings.enqueue_timeout_s) == (60.0, 0.5)


def test_rows_live_as_long_as_their_state_says_and_30_days_otherwise():
    ages = dict(build_settings({"HISTORY_RETENTION": {"processed": 60, "dead": None}}).history_retention_s)

    assert (ages["processed"], ages["dead"], ages["failed"]) == (60.0, None, 30 * 86_400.0)
    assert set(dict(build_settings({"HISTORY_RETENTION": timedelta(days=1)}).history_retention_s).values()) == {86_400.0}


def test_one_weight_makes_all_weighted():
    assert build_settings({"QUEUES": {"a": 3, "b": 0}}).queues == (("a", 3), ("b", 1))
    assert build_settings({"QUEUES": ["a", "b"]}).queues == (("a", 0), ("b", 0))


def test_settings_follow_an_override(settings):
    settings.SIDEKICK = {"CONCURRENCY": 3}

    assert get_settings().concurrency == 3


def test_a_folder_stays_where_it_was_though_a_job_changes_the_working_directory(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert build_settings({"RUNTIME_DIR": "run"}).runtime_dir == tmp_path / "run"
