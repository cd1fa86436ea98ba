from __future__ import annotations

from django_sidekick.wire import ruby

WRAPPED = {
    "class": "Sidekiq::ActiveJob::Wrapper",
    "wrapped": "CleanUpJob",
    "args": [
        {
            "job_class": "CleanUpJob",
            "arguments": [
                1,
                {"a": [{"_aj_symbol_keys": ["x"], "x": 2}], "_aj_symbol_keys": []},
                {"_aj_serialized": "ActiveJob::Serializers::SymbolSerializer", "value": "soft"},
                {"force": True, "_aj_ruby2_keywords": ["force"]},
            ],
        }
    ],
}


def test_active_jobs_are_unwrapped():
    assert ruby.is_wrapped(WRAPPED)
    assert ruby.unwrap(WRAPPED) == ("CleanUpJob", [1, {"a": [{"x": 2}]}, "soft"], {"force": True})


def test_a_malformed_wrapper_is_an_ordinary_class():
    assert not ruby.is_wrapped({"class": "Sidekiq::ActiveJob::Wrapper", "args": []})
    assert not ruby.is_wrapped({"class": "Sidekiq::ActiveJob::Wrapper", "args": ["x"]})
