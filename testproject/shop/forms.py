"""What a customer may send."""

from __future__ import annotations

from typing import ClassVar

from django import forms
from django.core.files.uploadedfile import UploadedFile

from testproject.shop.models import Order, Region

LARGEST_PICTURE = 5_000_000
BEGINNINGS = {b"\x89PNG\r\n\x1a\n": ".png", b"\xff\xd8\xff": ".jpg", b"GIF8": ".gif"}


class OrderForm(forms.ModelForm):
    """An order. There are thousands of regions, so the code is typed."""

    region = forms.ModelChoiceField(
        Region.objects.all(),
        required=False,
        widget=forms.TextInput(attrs={"placeholder": "DE-BE"}),
        help_text="ISO 3166-2, may be left empty",
        error_messages={"invalid_choice": "No such region is known: import all of them first?"},
    )

    class Meta:
        """Three fields."""

        model = Order
        fields: ClassVar[list[str]] = ["product", "email", "region"]


class PictureForm(forms.Form):
    """One picture. Only its size and its first bytes are looked at here: decoding is left to a job."""

    picture = forms.FileField(label="A picture (PNG, JPEG or GIF, 5 MB at most)")

    def clean_picture(self) -> UploadedFile:
        """Refuse what is too large or no picture; give the rest a suffix of ours."""
        file: UploadedFile = self.cleaned_data["picture"]
        if (file.size or 0) > LARGEST_PICTURE:
            raise forms.ValidationError("The picture is larger than 5 MB.")
        beginning = file.read(8)
        file.seek(0)
        suffix = next((s for first, s in BEGINNINGS.items() if beginning.startswith(first)), None)
        if suffix is None:
            raise forms.ValidationError("The file is no PNG, JPEG or GIF.")
        file.name = f"picture{suffix}"
        return file
