"""The shop's addresses."""

from __future__ import annotations

from django.conf import settings
from django.conf.urls.static import static
from django.contrib import admin
from django.urls import path

from testproject.shop import views

urlpatterns = [
    path("", views.shop, name="shop"),
    path("orders/", views.place_order, name="place-order"),
    path("orders/<int:order_id>/", views.show_order, name="order"),
    path("orders/<int:order_id>/picture/", views.upload_picture, name="upload-picture"),
    path("orders/<int:order_id>/quote/", views.ask_for_quote, name="ask-for-quote"),
    path("orders/<int:order_id>/close/", views.close_order, name="close-order"),
    path("regions/", views.import_regions, name="import-regions"),
    path("carrier/quote/", views.carrier_quote, name="carrier-quote"),
    path("admin/", admin.site.urls),
    *static(settings.MEDIA_URL, document_root=settings.MEDIA_ROOT),
]
