from __future__ import annotations

from django.contrib import admin
from django.http import HttpRequest, HttpResponse
from django.urls import path

from django_sidekick.admin import register
from tests.app.jobs import NoopJob
from tests.app.models import Order


def place_order(request: HttpRequest) -> HttpResponse:
    order = Order.objects.create(number=1)
    job = NoopJob.perform_later(order.pk)
    if "fail" in request.GET:
        raise RuntimeError("the view failed")
    return HttpResponse(f"{job.jid} {job.enqueued}")


own_site = admin.AdminSite(name="own")
register(own_site)

urlpatterns = [
    path("orders/", place_order),
    path("admin/", admin.site.urls),
    path("own/", own_site.urls),
]
