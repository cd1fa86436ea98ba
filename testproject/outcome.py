"""How a showing went: read from Redis, and compared with the shop's tables and mails."""

from __future__ import annotations

import contextlib
import re
from collections import Counter
from collections.abc import Sequence

from redis.exceptions import RedisError

from django_sidekick.broker.broker import get_broker
from django_sidekick.broker.inspector import Inspector
from django_sidekick.broker.recovery import OwnerRegister
from django_sidekick.wire import codec
from testproject.shop import counting, regions
from testproject.shop.models import Order, Region

Counts = Counter[tuple[str, str]]
_MINUTE = re.compile(r"j\|\d{6}\|\d{1,2}:\d\d$")


class Outcome:
    """The numbers of one showing: all keys under its prefix are its own."""

    def __init__(self) -> None:
        self._broker = get_broker()
        self._client, self._keys = self._broker.client, self._broker.keys
        self._inspector = Inspector(self._broker)
        self._owners = OwnerRegister(self._client, self._broker.settings)

    def why_redis_is_away(self) -> str:
        """Return the reason why Redis cannot be used; empty if it can."""
        try:
            self._client.ping()
        except RedisError as error:
            return str(error)
        return ""

    def left(self) -> dict[str, int]:
        """Return how many jobs wait, and are to be retried, and how many processes hold some.

        Three looks, not one: a job may pass between them unseen. Ask twice, more quickly than retries come.
        """
        sizes = self._inspector.sizes()
        return {"enqueued": sizes["enqueued"], "retry": sizes["retry"], "holders": len(self._owners.holders())}

    def print_table(self, columns: Sequence[str]) -> None:
        """Print on stdout one row a class and a last row with the sums; 0 is written too."""
        counts = self._counts()
        classes = sorted({name for name, _ in counts})
        print(_row("job class", columns))
        for name in classes:
            print(_row(name, [counts[name, column] for column in columns]))
        print(_row("Total", [_sum(counts, column) for column in columns]), flush=True)

    def problems(self, order_ids: Sequence[int], mails: int) -> list[str]:
        """Return what is not as it should be, after the worker has ended: counters, sets, mails, rows."""
        counts, sizes = self._counts(), self._inspector.sizes()
        orders = Order.objects.filter(pk__in=order_ids)
        processed, failed = _sum(counts, "processed"), _sum(counts, "failed")
        pairs = {
            "enqueued": (_sum(counts, "enqueued"), processed + _sum(counts, "scheduled")),
            "retried": (_sum(counts, "retried"), failed),
            "stat:processed": (sizes["processed"], processed + failed),
            "stat:failed": (sizes["failed"], failed),
            "dead jobs": (sizes["dead"], 0),
            "mails": (mails, len(order_ids)),
            "regions": (Region.objects.count(), regions.total()),
            "thumbnails": (orders.exclude(thumbnail="").count(), len(order_ids)),
            "quotes": (orders.filter(shipping_cents__gt=0).count(), len(order_ids)),
            "closed orders": (orders.filter(state=Order.State.CLOSED).count(), 1),
        }
        return [f"{what}: {got}, not {want}" for what, (got, want) in pairs.items() if got != want]

    def forget(self) -> None:
        """Delete this showing's keys, all under a prefix of its own. Nothing happens without one, or without Redis."""
        if not self._keys.prefix:
            return
        with contextlib.suppress(RedisError):
            for name in self._client.scan_iter(f"{self._keys.prefix}*", count=1000):
                self._client.unlink(name)

    def _counts(self) -> Counts:
        """Enqueued and retried as the shop's middleware counts them; the rest as Sidekiq's keys have it.

        Sidekiq's `p` counts runs, failed ones included; processed here is what succeeded (DESIGN, section 4).
        """
        counts = counting.counts()
        for key in self._client.scan_iter(f"{self._keys.prefix}j|*", count=1000):
            if _MINUTE.search(key.decode()):
                self._add_runs(counts, self._client.hgetall(key))
        for raw in self._client.zrange(self._keys.schedule, 0, -1):
            counts[counting.short(codec.loads(raw)["class"]), "scheduled"] += 1
        return counts

    def _add_runs(self, counts: Counts, metrics: dict[bytes, bytes]) -> None:
        for field, value in metrics.items():
            name, _, what = field.decode().rpartition("|")
            if what == "p":
                counts[counting.short(name), "processed"] += int(value)
            elif what == "f":
                counts[counting.short(name), "failed"] += int(value)
                counts[counting.short(name), "processed"] -= int(value)


def _row(name: str, cells: Sequence[object]) -> str:
    return " ".join([f"{name:<20}", *(f"{cell:>10}" for cell in cells)])


def _sum(counts: Counts, what: str) -> int:
    return sum(count for (_, column), count in counts.items() if column == what)
