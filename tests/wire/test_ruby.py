from __future__ import annotations

import pytest

from django_sidekick.exceptions import DeserializationError
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


@pytest.mark.parametrize("nested", [lambda gid: gid, lambda gid: [{"a": gid}], lambda gid: {"x": gid, "_aj_ruby2_keywords": ["x"]}])
def test_a_record_of_rubys_is_an_error_that_names_it(nested):
    inner = {"job_class": "CleanUpJob", "arguments": [nested({"_aj_globalid": "gid://shop/Order/1"})]}

    with pytest.raises(DeserializationError, match="gid://shop/Order/1"):
        ruby.unwrap({**WRAPPED, "args": [inner]})
    assert ruby.class_name({**WRAPPED, "args": [inner]}) == "CleanUpJob"


def test_a_malformed_wrapper_is_an_ordinary_class():
    assert not ruby.is_wrapped({"class": "Sidekiq::ActiveJob::Wrapper", "args": []})
    assert not ruby.is_wrapped({"class": "Sidekiq::ActiveJob::Wrapper", "args": ["x"]})
