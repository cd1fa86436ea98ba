"""The shop's pages. What takes long is left to jobs, enqueued inside the transaction that they belong to."""

from __future__ import annotations

import random
import time
from datetime import timedelta

import pycountry
from django import forms
from django.db import transaction
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils import timezone
from django.views.decorators.http import require_GET, require_POST

from django_sidekick import perform_all_later
from testproject.shop.jobs import (
    AskForReviewJob,
    CleanUpOrderJob,
    ConfirmOrderJob,
    ImportRegionsJob,
    QuoteJob,
    ThumbnailJob,
)
from testproject.shop.models import Order, Region

CHUNK = 500
SLOW_S = 0.2
FAILS_ONE_IN = 3


class OrderForm(forms.ModelForm):
    """What a customer fills in."""

    class Meta:
        """Two fields."""

        model = Order
        fields = ("email", "item")


class PictureForm(forms.Form):
    """One picture."""

    picture = forms.FileField()


@require_GET
def shop(request: HttpRequest) -> HttpResponse:
    """Show the form, the newest orders and the number of regions."""
    return _page(request, OrderForm())


@require_POST
def place_order(request: HttpRequest) -> HttpResponse:
    """Write the order and enqueue what follows; a roll-back would take the jobs with it."""
    form = OrderForm(request.POST)
    if not form.is_valid():
        return _page(request, form, status=400)
    with transaction.atomic():
        order = form.save()
        ConfirmOrderJob.perform_later(order.pk)
        CleanUpOrderJob.set(wait_until=tomorrow_noon()).perform_later(order.pk)
        AskForReviewJob.set(wait=timedelta(weeks=1)).perform_later(order.pk)
        QuoteJob.perform_later(order.pk)
    return redirect("shop")


@require_POST
def upload_picture(request: HttpRequest, order_id: int) -> HttpResponse:
    """Keep the picture; its thumbnail is made later."""
    order = get_object_or_404(Order, pk=order_id)
    form = PictureForm(request.POST, request.FILES)
    if not form.is_valid():
        return HttpResponse("A picture is needed.", status=400)
    with transaction.atomic():
        order.picture = form.cleaned_data["picture"]
        order.save(update_fields=["picture"])
        ThumbnailJob.perform_later(order.pk)
    return redirect("shop")


@require_POST
def ask_for_quote(request: HttpRequest, order_id: int) -> HttpResponse:
    """Ask the carrier again."""
    QuoteJob.perform_later(get_object_or_404(Order, pk=order_id).pk)
    return redirect("shop")


@require_POST
def import_regions(request: HttpRequest) -> HttpResponse:
    """Import all regions, one job a chunk; and close the first order by force, the seed's plain call."""
    total = len(pycountry.subdivisions)
    with transaction.atomic():
        perform_all_later(
            [ImportRegionsJob.prepare(first, CHUNK) for first in range(0, total, CHUNK)]
        )
        CleanUpOrderJob.perform_later(1)
    return redirect("shop")


@require_GET
def carrier_quote(request: HttpRequest) -> HttpResponse:
    """Play the carrier: slow, and out of order one time in three."""
    time.sleep(SLOW_S)
    if random.randrange(FAILS_ONE_IN) == 0:
        return JsonResponse({"error": "come back later"}, status=503)
    return JsonResponse({"cents": random.randrange(300, 2000)})


def tomorrow_noon() -> timezone.datetime:
    """Return tomorrow, 12:00, in the shop's time zone."""
    noon = timezone.localtime() + timedelta(days=1)
    return noon.replace(hour=12, minute=0, second=0, microsecond=0)


def _page(request: HttpRequest, form: OrderForm, status: int = 200) -> HttpResponse:
    context = {
        "form": form,
        "orders": Order.objects.order_by("-pk")[:20],
        "regions": Region.objects.count(),
    }
    return render(request, "shop/shop.html", context, status=status)
