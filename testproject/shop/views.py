"""The shop's pages. What takes long is left to jobs, enqueued inside the transaction that they belong to."""

from __future__ import annotations

import itertools
import random
import time
from datetime import datetime, timedelta
from typing import Any

from django.contrib import messages
from django.db import transaction
from django.db.models import F
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils import timezone
from django.views.decorators.http import require_GET, require_POST

from django_sidekick import perform_all_later
from testproject.shop import regions
from testproject.shop.forms import OrderForm, PictureForm
from testproject.shop.jobs import (
    CleanUpOrderJob,
    ConfirmOrderJob,
    ImportRegionsJob,
    QuoteJob,
    ThumbnailJob,
)
from testproject.shop.models import Order, Product, Region

CHUNK = 500
CARRIER_TAKES_S = 0.2
CARRIER_FAILS_EVERY = 3
_asked = itertools.count(1)


class SoldOut(Exception):
    """Nothing of the product is left."""


@require_GET
def shop(request: HttpRequest) -> HttpResponse:
    """Show the form, the goods, the newest orders and the number of regions."""
    return _shop_page(request, OrderForm())


@require_POST
def place_order(request: HttpRequest) -> HttpResponse:
    """Write the order and enqueue what follows. Sold out: roll back, and the jobs are rolled back too."""
    form = OrderForm(request.POST)
    if not form.is_valid():
        return _shop_page(request, form, status=400)
    try:
        with transaction.atomic():
            order = form.save()
            ConfirmOrderJob.perform_later(order.pk)
            QuoteJob.perform_later(order.pk)
            CleanUpOrderJob.set(wait_until=tomorrow_noon()).perform_later(order.pk)
            CleanUpOrderJob.set(wait=timedelta(weeks=1)).perform_later(order.pk, force=True)
            _take_from_stock(order.product)
    except SoldOut as error:
        form.add_error("product", str(error))
        return _shop_page(request, form, status=409)
    return redirect(order)


@require_GET
def show_order(request: HttpRequest, order_id: int) -> HttpResponse:
    """Show one order, with its buttons."""
    order = get_object_or_404(Order.objects.select_related("product", "region"), pk=order_id)
    return _order_page(request, order, PictureForm())


@require_POST
def upload_picture(request: HttpRequest, order_id: int) -> HttpResponse:
    """Keep the picture; its thumbnail is made later."""
    order = get_object_or_404(Order, pk=order_id)
    form = PictureForm(request.POST, request.FILES)
    if not form.is_valid():
        return _order_page(request, order, form, status=400)
    with transaction.atomic():
        order.picture = form.cleaned_data["picture"]
        order.save(update_fields=["picture"])
        ThumbnailJob.perform_later(order.pk)
    messages.info(request, "The thumbnail will be here in a moment.")
    return redirect(order)


@require_POST
def ask_for_quote(request: HttpRequest, order_id: int) -> HttpResponse:
    """Ask the carrier again."""
    with transaction.atomic():
        order = get_object_or_404(Order, pk=order_id)
        QuoteJob.perform_later(order.pk)
    messages.info(request, "The carrier will be asked.")
    return redirect(order)


@require_POST
def close_order(request: HttpRequest, order_id: int) -> HttpResponse:
    """Have the order closed now, confirmed or not."""
    with transaction.atomic():
        order = get_object_or_404(Order, pk=order_id)
        CleanUpOrderJob.perform_later(order.pk, force=True)
    messages.info(request, "The order will be closed.")
    return redirect(order)


@require_POST
def import_regions(request: HttpRequest) -> HttpResponse:
    """Import all regions, one job a chunk."""
    with transaction.atomic():
        chunks = range(0, regions.total(), CHUNK)
        perform_all_later([ImportRegionsJob.prepare(first, CHUNK) for first in chunks])
    messages.info(request, f"{regions.total()} regions will be imported by {len(chunks)} jobs.")
    return redirect("shop")


@require_GET
def carrier_quote(request: HttpRequest) -> HttpResponse:
    """Play the carrier: slow, and out of order every third time."""
    if not request.GET.get("order", "").isdecimal():
        return JsonResponse({"error": "which order?"}, status=400)
    time.sleep(CARRIER_TAKES_S)
    if next(_asked) % CARRIER_FAILS_EVERY == 0:
        return JsonResponse({"error": "come back later"}, status=503)
    return JsonResponse({"cents": random.randrange(300, 2000)})


def tomorrow_noon() -> datetime:
    """Return tomorrow, 12:00, in the shop's time zone."""
    noon = timezone.localtime() + timedelta(days=1)
    return noon.replace(hour=12, minute=0, second=0, microsecond=0)


def _take_from_stock(product: Product) -> None:
    if not Product.objects.filter(pk=product.pk, stock__gt=0).update(stock=F("stock") - 1):
        raise SoldOut(f"{product.name} is sold out.")


def _shop_page(request: HttpRequest, form: OrderForm, status: int = 200) -> HttpResponse:
    context: dict[str, Any] = {
        "form": form,
        "orders": Order.objects.select_related("product")[:20],
        "products": Product.objects.all(),
        "regions": Region.objects.count(),
    }
    return render(request, "shop/shop.html", context, status=status)


def _order_page(request: HttpRequest, order: Order, form: PictureForm, status: int = 200) -> HttpResponse:
    return render(request, "shop/order.html", {"order": order, "form": form}, status=status)
