"""Active Job's wrapper around a job that Ruby has pushed."""

from __future__ import annotations

from typing import Any

from django_sidekick.exceptions import DeserializationError

WRAPPERS = frozenset(
    {
        "Sidekiq::ActiveJob::Wrapper",
        "ActiveJob::QueueAdapters::SidekiqAdapter::JobWrapper",
    }
)
_KEYWORDS = "_aj_ruby2_keywords"
_GLOBAL_ID = "_aj_globalid"


def is_wrapped(payload: dict[str, Any]) -> bool:
    """Tell whether the payload is Active Job's wrapper with its job inside."""
    args = payload["args"]
    return payload["class"] in WRAPPERS and len(args) == 1 and isinstance(args[0], dict)


def class_name(payload: dict[str, Any]) -> str:
    """Return the name of the job inside the wrapper."""
    return str(payload.get("wrapped") or payload["args"][0].get("job_class") or payload["class"])


def unwrap(payload: dict[str, Any]) -> tuple[str, list[Any], dict[str, Any]]:
    """Return class name, positional and keyword arguments of the job inside the wrapper.

    A last hash that Ruby marked as keywords becomes keyword arguments; `_aj_` keys are taken out at every
    depth; symbols become texts. Raise DeserializationError for a GlobalID: only Ruby can find its record.
    """
    arguments = payload["args"][0].get("arguments")
    arguments = list(arguments) if isinstance(arguments, list) else []
    keywords: dict[str, Any] = {}
    if arguments and isinstance(arguments[-1], dict) and _KEYWORDS in arguments[-1]:
        keywords = _plain(arguments.pop())
    return class_name(payload), [_plain(value) for value in arguments], keywords


def _plain(value: Any) -> Any:
    if isinstance(value, list):
        return [_plain(item) for item in value]
    if not isinstance(value, dict):
        return value
    if _GLOBAL_ID in value:
        raise DeserializationError(
            f"An argument is the record {value[_GLOBAL_ID]!r:.200} of a Ruby application, which cannot be read here: "
            "let the job take its id."
        )
    serializer = str(value.get("_aj_serialized", ""))
    if serializer.endswith("SymbolSerializer"):
        return value.get("value")
    return {key: _plain(item) for key, item in value.items() if not key.startswith("_aj_")}
