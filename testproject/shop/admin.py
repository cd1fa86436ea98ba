"""The shop in the admin."""

from __future__ import annotations

from django.contrib import admin

from testproject.shop.models import Order, Region


@admin.register(Order)
class OrderAdmin(admin.ModelAdmin):
    """Orders by state."""

    list_display = ("pk", "item", "email", "state", "shipping_cents", "created_at")
    list_filter = ("state",)


@admin.register(Region)
class RegionAdmin(admin.ModelAdmin):
    """Regions by code."""

    list_display = ("code", "name", "kind")
    search_fields = ("code", "name")
