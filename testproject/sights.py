"""What there is to look at in the admin beside the orders: jobs that run, fail, wait and are dead. All are real."""

from __future__ import annotations

from collections.abc import Sequence

from django_sidekick import perform_all_later
from django_sidekick.broker.broker import get_broker
from django_sidekick.broker.inspector import Inspector
from testproject.shop.jobs import NewsletterJob, PrintLabelJob, ReportStockJob, TakeStockJob
from testproject.shop.models import Product

READERS = 40
SHELVES = 9
TROUBLE_EVERY = 5
"""Orders from one label that cannot be printed to the next."""


def set_out(orders: Sequence[int]) -> None:
    """Pause a queue that has jobs, have some die and some fail for long, and keep the worker busy."""
    Inspector(get_broker()).pause("newsletter")
    perform_all_later([NewsletterJob.prepare(f"reader{number}@example.com") for number in range(1, READERS + 1)])
    perform_all_later([PrintLabelJob.prepare(order) for order in orders])
    perform_all_later([ReportStockJob.prepare(product.pk) for product in Product.objects.all()])
    TakeStockJob.perform_later(shelves=SHELVES)


def add(orders: Sequence[int]) -> None:
    """After each order: shelves to be counted; after some of them trouble."""
    TakeStockJob.perform_later(shelves=SHELVES)
    if len(orders) % TROUBLE_EVERY == 0:
        PrintLabelJob.perform_later(orders[-1])
