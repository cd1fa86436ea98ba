"""What the shop does later."""

from __future__ import annotations

import io
import json
from pathlib import Path
from urllib.parse import urlencode
from urllib.request import urlopen

import pycountry
from django.conf import settings
from django.core.files.base import ContentFile
from django.core.mail import send_mail

from django_sidekick import BaseJob
from testproject.shop.models import Order, Region


class CleanUpOrderJob(BaseJob):
    """Close an order that nobody has touched."""

    queue_as = "low"

    def perform(self, order_id: int, *, force: bool = False) -> None:
        """Close it if it is confirmed, or in any case by force."""
        orders = Order.objects.filter(pk=order_id)
        if not force:
            orders = orders.filter(state=Order.State.CONFIRMED)
        orders.update(state=Order.State.CLOSED)


class ConfirmOrderJob(BaseJob):
    """Send the confirmation by mail."""

    queue_as = "mail"

    def perform(self, order_id: int) -> None:
        """Send, then mark: a second run sends a second mail, which is better than none."""
        order = Order.objects.get(pk=order_id)
        send_mail(f"Your order {order.pk}", f"{order.item} is on its way.", "shop@example.com", [order.email])
        Order.objects.filter(pk=order_id, state=Order.State.OPEN).update(state=Order.State.CONFIRMED)


class AskForReviewJob(BaseJob):
    """Ask a week later how it was."""

    queue_as = "mail"

    def perform(self, order_id: int) -> None:
        """Send the question."""
        order = Order.objects.get(pk=order_id)
        send_mail("How was it?", f"Tell us about {order.item}.", "shop@example.com", [order.email])


class ThumbnailJob(BaseJob):
    """Make a thumbnail of an uploaded picture."""

    def perform(self, order_id: int) -> None:
        """Write a JPEG of 128 pixels beside the picture. Pillow is loaded by this job alone."""
        from PIL import Image  # noqa: PLC0415 a worker that makes no thumbnails need not load it

        order = Order.objects.get(pk=order_id)
        with order.picture.open("rb") as file, Image.open(file) as picture:
            picture = picture.convert("RGB")
            picture.thumbnail((128, 128))
            out = io.BytesIO()
            picture.save(out, "JPEG")
        name = f"{Path(order.picture.name).stem}.jpg"
        order.thumbnail.save(name, ContentFile(out.getvalue()), save=False)
        Order.objects.filter(pk=order_id).update(thumbnail=order.thumbnail.name)


class ImportRegionsJob(BaseJob):
    """Import one chunk of the ISO 3166-2 subdivisions."""

    queue_as = "low"

    def perform(self, first: int, count: int) -> None:
        """Write the rows; a second run changes nothing."""
        chunk = sorted(pycountry.subdivisions, key=lambda region: region.code)[first : first + count]
        rows = [Region(code=region.code, name=region.name, kind=region.type) for region in chunk]
        Region.objects.bulk_create(
            rows, update_conflicts=True, unique_fields=["code"], update_fields=["name", "kind"]
        )


class QuoteJob(BaseJob):
    """Ask the carrier's slow page what shipping costs. It fails now and then."""

    retry = 10
    tags = ("carrier",)

    def perform(self, order_id: int) -> None:
        """Write the price into the order."""
        query = urlencode({"order": order_id})
        with urlopen(f"{settings.CARRIER_URL}?{query}", timeout=10) as answer:
            cents = json.load(answer)["cents"]
        Order.objects.filter(pk=order_id).update(shipping_cents=cents)

    def retry_in(self, count: int, error: BaseException) -> float:
        """Ask again soon: the carrier recovers quickly."""
        return 1.0
