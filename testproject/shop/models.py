"""Orders, and where they can be sent."""

from __future__ import annotations

from typing import ClassVar

from django.db import models


class Order(models.Model):
    """What a customer has asked for."""

    class State(models.TextChoices):
        """How far it is."""

        OPEN = "open"
        CONFIRMED = "confirmed"
        CLOSED = "closed"

    email = models.EmailField()
    item = models.CharField(max_length=100)
    state = models.CharField(max_length=10, choices=State.choices, default=State.OPEN)
    picture = models.FileField(upload_to="pictures", blank=True)
    thumbnail = models.FileField(upload_to="thumbnails", blank=True)
    shipping_cents = models.PositiveIntegerField(null=True, blank=True)
    created_at = models.DateTimeField(auto_now_add=True)

    def __str__(self) -> str:
        """Return number and item."""
        return f"{self.pk}: {self.item}"


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
