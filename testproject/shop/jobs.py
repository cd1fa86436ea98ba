"""What the shop does later."""

from __future__ import annotations

import io
import json
import time
from urllib.parse import urlencode
from urllib.request import urlopen

from django.conf import settings
from django.core.files.base import ContentFile
from django.core.mail import send_mail

from django_sidekick import BaseJob, Discard
from testproject.shop import regions
from testproject.shop.models import Order, Region

SENDER = "shop@example.com"
CARRIER_TIMEOUT_S = 10
THUMBNAIL_SIZE = (128, 128)
WAREHOUSE_TIMEOUT_S = 5
SHELF_TAKES_S = 1


class CleanUpOrderJob(BaseJob):
    """Close an order that is done with, and delete what only the open order needed."""

    queue_as = "low"

    def perform(self, order_id: int, *, force: bool = False) -> None:
        """Close it if it is confirmed, or in any case by force. A second run changes nothing."""
        orders = Order.objects.filter(pk=order_id)
        if not force:
            orders = orders.filter(state=Order.State.CONFIRMED)
        if orders.update(state=Order.State.CLOSED):
            self.log.info("Order %d is closed.", order_id)


class ConfirmOrderJob(BaseJob):
    """Send the confirmation by mail."""

    queue_as = "mail"

    def perform(self, order_id: int) -> None:
        """Send, then mark: a second run sends a second mail, which is better than none."""
        order = found(order_id)
        text = f"{order.product.name} is on its way to you."
        send_mail(f"Your order no. {order.pk}", text, SENDER, [order.email])
        Order.objects.filter(pk=order_id, state=Order.State.OPEN).update(state=Order.State.CONFIRMED)


class ThumbnailJob(BaseJob):
    """Make a thumbnail of an uploaded picture."""

    def perform(self, order_id: int) -> None:
        """Write a JPEG of at most 128 pixels; drop the job if the picture cannot be read, today or ever."""
        from PIL import Image  # noqa: PLC0415 a worker that makes no thumbnails need not load it

        order = found(order_id)
        out = io.BytesIO()
        with order.picture.open("rb") as file:
            try:
                with Image.open(file) as picture:
                    picture.thumbnail(THUMBNAIL_SIZE)
                    picture.convert("RGB").save(out, "JPEG")
            except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
                raise Discard(f"The picture of order {order_id} cannot be read: {error}") from error
        order.thumbnail.save(f"{order_id}.jpg", ContentFile(out.getvalue()), save=False)
        Order.objects.filter(pk=order_id).update(thumbnail=order.thumbnail.name)


class ImportRegionsJob(BaseJob):
    """Import one chunk of the ISO 3166-2 subdivisions."""

    queue_as = "low"

    def perform(self, first: int, count: int) -> None:
        """Write the rows; a second run changes nothing."""
        Region.objects.bulk_create(
            regions.chunk(first, count),
            update_conflicts=True,
            unique_fields=["code"],
            update_fields=["name", "kind"],
        )


class QuoteJob(BaseJob):
    """Ask the carrier's slow page what shipping costs. It fails now and then."""

    tags = ("carrier",)

    def perform(self, order_id: int) -> None:
        """Write the price into the order."""
        query = urlencode({"order": found(order_id).pk})
        with urlopen(f"{settings.CARRIER_URL}?{query}", timeout=CARRIER_TIMEOUT_S) as answer:
            cents = int(json.load(answer)["cents"])
        Order.objects.filter(pk=order_id).update(shipping_cents=cents)

    def retry_in(self, count: int, error: BaseException) -> float:
        """Ask again soon, and then ever later: the carrier recovers quickly, as a rule."""
        return settings.CARRIER_PAUSE_S + 2 * count


class OutOfPaper(Exception):
    """The printer has none left."""


class PrintLabelJob(BaseJob):
    """Print a parcel's label. The packing room has run out of paper."""

    retry = 0
    """At once or not at all: a late label would stick on another parcel. Who refills the paper runs it again."""

    def perform(self, order_id: int) -> None:
        """Print."""
        raise OutOfPaper(f"The printer has no paper for the label of order {order_id}.")


class ReportStockJob(BaseJob):
    """Tell the warehouse what is left of a product. It has not answered for weeks."""

    tags = ("warehouse",)

    def perform(self, product_id: int) -> None:
        """Call the warehouse's page."""
        with urlopen(f"{settings.WAREHOUSE_URL}?product={product_id}", timeout=WAREHOUSE_TIMEOUT_S):
            pass


class TakeStockJob(BaseJob):
    """Count what lies on the shelves, one after the other."""

    def perform(self, *, shelves: int) -> None:
        """Take a second for each."""
        for shelf in range(1, shelves + 1):
            time.sleep(SHELF_TAKES_S)
            self.log.debug("Shelf %d is counted.", shelf)


class NewsletterJob(BaseJob):
    """Send the newsletter to one reader."""

    queue_as = "newsletter"

    def perform(self, email: str) -> None:
        """Send."""
        send_mail("New teapots", "They have come in.", SENDER, [email])


def found(order_id: int) -> Order:
    """Return the order. Drop the job if there is none any more: no retry would bring it back."""
    order = Order.objects.select_related("product").filter(pk=order_id).first()
    if order is None:
        raise Discard(f"Order {order_id} is gone.")
    return order
