"""Jobs to look at, and the acts of a form."""

from __future__ import annotations

import json
import re
from typing import Any

from django.urls import reverse

SETS = {"retries": "retry", "scheduled": "schedule", "dead": "dead"}


def job(number: int, **fields: Any) -> bytes:
    """Return the text of a job as a failure leaves it."""
    whole = {
        "retry": True, "queue": "low", "class": "HardJob", "args": [number, "a"], "jid": f"{number:024x}",
        "created_at": 1_795_408_300_000, "enqueued_at": 1_795_408_300_001, "error_message": f"failed with {number}",
        "error_class": "ValueError", "failed_at": 1_795_408_310_000, "retry_count": 2, **fields,
    }  # fmt: skip
    return json.dumps(whole).encode()


def fill(redis: Any, key: str, numbers: range, **fields: Any) -> list[bytes]:
    """Put jobs into a set, scored by their numbers."""
    raws = [job(number, **fields) for number in numbers]
    for first in range(0, len(raws), 1000):
        redis.zadd(key, dict(zip(raws[first : first + 1000], numbers[first : first + 1000], strict=True)))
    return raws


def page(client: Any, name: str, **query: Any) -> str:
    answer = client.get(reverse(f"admin:sidekick_{name}"), query)
    assert answer.status_code == 200
    return answer.content.decode()


def names_in(html: str) -> list[str]:
    """Return what the rows' checkboxes say."""
    return re.findall(r'name="_selected_action" value="([^"]+)"', html)


def jids_in(html: str) -> list[int]:
    """Return the numbers of the jobs that a page shows, in its order."""
    return [int(jid, 16) for jid in re.findall(r'/live/job/([0-9a-f]{24})/"', html)]


def post(client: Any, name: str, action: str, query: str = "", **fields: Any) -> Any:
    answer = client.post(f"{reverse(f'admin:sidekick_{name}')}{query}", {"action": action, **fields})
    assert answer.status_code in (200, 302)
    return answer


def confirmed(client: Any, name: str, answer: Any, query: str = "") -> Any:
    """Send the form of a confirm page, or of a page of progress; `name` is a live page's, or a path."""
    html = answer.content.decode()
    form = html[html.index('<form method="post"') :]
    fields: dict[str, list[str]] = {}
    for field, value in re.findall(r'<input type="hidden" name="([^"]+)" value="([^"]*)"', form):
        fields.setdefault(field, []).append(value)
    fields.pop("csrfmiddlewaretoken", None)
    button = re.search(r'name="action" value="([^"]+)"', form)
    if button:
        fields["action"] = [button[1]]
    path = name if name.startswith("/") else reverse(f"admin:sidekick_{name}")
    return client.post(f"{path}{query}", fields)


def messages_of(client: Any, name: str) -> str:
    """Return the texts of the messages on a page."""
    html = page(client, name)
    return " ".join(re.findall(r'<li class="(?:success|warning|error)">(.*?)</li>', html))
