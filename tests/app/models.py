from __future__ import annotations

from django.db import models


class Order(models.Model):
    """A row that jobs work on."""

    number = models.IntegerField(default=0)
    state = models.CharField(max_length=20, default="new")

    def __str__(self) -> str:
        return f"order {self.number}"
