"""The shop in the admin."""

from __future__ import annotations

from django.contrib import admin

from testproject.shop.models import Order, Product, Region


@admin.register(Product)
class ProductAdmin(admin.ModelAdmin):
    """Products and what is left of them."""

    list_display = ("name", "price_cents", "stock")


@admin.register(Order)
class OrderAdmin(admin.ModelAdmin):
    """Orders by state."""

    list_display = ("pk", "product", "email", "state", "shipping_cents", "created_at")
    list_filter = ("state",)
    list_select_related = ("product",)
    raw_id_fields = ("region",)


@admin.register(Region)
class RegionAdmin(admin.ModelAdmin):
    """Regions by code."""

    list_display = ("code", "name", "kind")
    search_fields = ("code", "name")
