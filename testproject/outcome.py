"""How the demo went: read from Redis and from the shop's tables."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from django_sidekick.broker.backlog import Backlog
from django_sidekick.broker.broker import get_broker
from django_sidekick.broker.inspector import Inspector
from django_sidekick.broker.recovery import OwnerRegister
from django_sidekick.wire import codec
from testproject.shop.counting import key
from testproject.shop.models import Order, Region

REGIONS = 5046


class Outcome:
    """The numbers of one showing."""

    def __init__(self, queues: Sequence[str]) -> None:
        self._broker = get_broker()
        self._client, self._keys = self._broker.client, self._broker.keys
        self._backlog = Backlog(self._client, self._keys, queues)
        self._owners = OwnerRegister(self._client, self._keys)

    def all_due_are_done(self) -> bool:
        """Tell whether nothing waits, runs, or is to be retried."""
        return not (
            self._backlog.size() or self._client.zcard(self._keys.retry) or self._owners.holders()
        )

    def print_table(self, columns: Sequence[str]) -> None:
        """Print one row a class and a last row with the sums; 0 is written too."""
        counts = self._counts()
        classes = sorted({name for name, _ in counts})
        print(" ".join([f"{'job class':<20}", *(f"{column:>10}" for column in columns)]))
        for name in classes:
            print(" ".join([f"{name:<20}", *(f"{counts[name, column]:>10}" for column in columns)]))
        sums = [sum(counts[name, column] for name in classes) for column in columns]
        print(" ".join([f"{'Total':<20}", *(f"{value:>10}" for value in sums)]), flush=True)

    def problems(self, orders: int, mails: int) -> list[str]:
        """Return what is not as it should be: Sidekiq's own counters, the mails, the rows."""
        counts = self._counts()
        sizes = Inspector(self._broker).sizes()
        expected = {
            "stat:processed": (sizes["processed"], _sum(counts, "processed")),
            "stat:failed": (sizes["failed"], _sum(counts, "failed")),
            "dead jobs": (sizes["dead"], 0),
            "mails": (mails, orders),
            "regions": (Region.objects.count(), REGIONS),
            "thumbnails": (Order.objects.exclude(thumbnail="").count(), orders),
            "quotes": (Order.objects.filter(shipping_cents__gt=0).count(), orders),
        }
        return [f"{what}: {got}, not {want}" for what, (got, want) in expected.items() if got != want]

    def forget(self) -> None:
        """Delete this showing's keys, all under a prefix of its own."""
        for name in self._client.scan_iter(f"{self._keys.prefix}*", count=1000):
            self._client.unlink(name)

    def _counts(self) -> Counter[tuple[str, str]]:
        counts: Counter[tuple[str, str]] = Counter()
        for field, count in self._client.hgetall(key()).items():
            name, _, what = field.decode().partition("|")
            counts[name, what] = int(count)
        for raw in self._client.zrange(self._keys.schedule, 0, -1):
            counts[codec.loads(raw)["class"].rpartition(".")[2], "scheduled"] += 1
        return counts


def _sum(counts: Counter[tuple[str, str]], what: str) -> int:
    return sum(count for (_, column), count in counts.items() if column == what)
