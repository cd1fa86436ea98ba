"""What the shop sells, who has ordered what, and where it can be sent."""

from __future__ import annotations

from typing import ClassVar

from django.db import models
from django.urls import reverse


class Product(models.Model):
    """Something to order, as long as there is any."""

    name = models.CharField(max_length=100, unique=True)
    price_cents = models.PositiveIntegerField()
    stock = models.PositiveIntegerField()

    class Meta:
        """By name."""

        ordering: ClassVar[list[str]] = ["name"]

    def __str__(self) -> str:
        """Return the name."""
        return self.name


class Region(models.Model):
    """A subdivision of ISO 3166-2."""

    code = models.CharField(max_length=6, primary_key=True)
    name = models.CharField(max_length=200)
    kind = models.CharField(max_length=100)

    class Meta:
        """By code."""

        ordering: ClassVar[list[str]] = ["code"]

    def __str__(self) -> str:
        """Return code and name."""
        return f"{self.code} {self.name}"


class Order(models.Model):
    """What a customer has asked for."""

    class State(models.TextChoices):
        """How far it is."""

        OPEN = "open"
        CONFIRMED = "confirmed"
        CLOSED = "closed"

    product = models.ForeignKey(Product, on_delete=models.PROTECT)
    email = models.EmailField()
    region = models.ForeignKey(Region, on_delete=models.PROTECT, null=True, blank=True)
    state = models.CharField(max_length=10, choices=State.choices, default=State.OPEN)
    picture = models.FileField(upload_to="pictures", blank=True)
    thumbnail = models.FileField(upload_to="thumbnails", blank=True)
    shipping_cents = models.PositiveIntegerField(null=True, blank=True)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        """Newest first."""

        ordering: ClassVar[list[str]] = ["-pk"]

    def __str__(self) -> str:
        """Return number and product."""
        return f"{self.pk}: {self.product}"

    def get_absolute_url(self) -> str:
        """Return the order's page."""
        return reverse("order", args=[self.pk])
