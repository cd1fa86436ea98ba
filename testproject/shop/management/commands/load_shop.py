"""`manage.py load_shop`: a catalogue, and an account for the admin."""

from __future__ import annotations

import secrets
from typing import Any

from django.contrib.auth import get_user_model
from django.core.management.base import BaseCommand
from django.db import transaction

from testproject.shop.models import Product

CATALOGUE = (
    ("Teapot, brown", 2400, 1000),
    ("Teapot, glazed", 3900, 1000),
    ("Tea strainer", 700, 1000),
    ("Tea, green, 250 g", 1250, 1000),
    ("Teapot of the Tang dynasty", 99_000_000, 0),
)
ACCOUNT = "demo"


class Command(BaseCommand):
    """Fill the catalogue and give the account `demo` a new password, whose text is the last line printed."""

    help = "Fill the catalogue, and print a new password of the admin's account `demo`. Can be repeated."

    def handle(self, *args: Any, **options: Any) -> None:
        """Write the rows; a repetition fills the stock up and changes the password."""
        password = secrets.token_urlsafe(9)
        with transaction.atomic():
            for name, price_cents, stock in CATALOGUE:
                defaults = {"price_cents": price_cents, "stock": stock}
                Product.objects.update_or_create(name=name, defaults=defaults)
            account, _ = get_user_model().objects.get_or_create(username=ACCOUNT)
            account.is_staff = account.is_superuser = True
            account.set_password(password)
            account.save()
        self.stdout.write(f"{len(CATALOGUE)} products; account {ACCOUNT}, password:\n{password}")
