"""Active Job's wrapper around a job that Ruby has pushed."""

from __future__ import annotations

from typing import Any

WRAPPERS = frozenset(
    {
        "Sidekiq::ActiveJob::Wrapper",
        "ActiveJob::QueueAdapters::SidekiqAdapter::JobWrapper",
    }
)
_KEYWORDS = "_aj_ruby2_keywords"


def is_wrapped(payload: dict[str, Any]) -> bool:
    """Tell whether the payload is Active Job's wrapper with its job inside."""
    args = payload["args"]
    return payload["class"] in WRAPPERS and len(args) == 1 and isinstance(args[0], dict)


def unwrap(payload: dict[str, Any]) -> tuple[str, list[Any], dict[str, Any]]:
    """Return class name, positional and keyword arguments of the job inside the wrapper.

    A last hash that Ruby marked as keywords becomes keyword arguments; `_aj_` keys are taken out at every
    depth; symbols become texts.
    """
    inner = payload["args"][0]
    name = payload.get("wrapped") or inner.get("job_class") or payload["class"]
    arguments = inner.get("arguments")
    arguments = list(arguments) if isinstance(arguments, list) else []
    keywords: dict[str, Any] = {}
    if arguments and isinstance(arguments[-1], dict) and _KEYWORDS in arguments[-1]:
        keywords = _plain(arguments.pop())
    return str(name), [_plain(value) for value in arguments], keywords


def _plain(value: Any) -> Any:
    if isinstance(value, list):
        return [_plain(item) for item in value]
    if not isinstance(value, dict):
        return value
    serializer = str(value.get("_aj_serialized", ""))
    if serializer.endswith("SymbolSerializer"):
        return value.get("value")
    return {key: _plain(item) for key, item in value.items() if not key.startswith("_aj_")}
