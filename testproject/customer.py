"""A customer of the shop, over HTTP and with its forms, as a browser would."""

from __future__ import annotations

import io
import secrets
from http.cookiejar import CookieJar
from urllib.parse import urlencode
from urllib.request import HTTPCookieProcessor, Request, build_opener

from PIL import Image


class Customer:
    """Look at the page once for its token, then send forms."""

    def __init__(self, shop_url: str) -> None:
        self._shop_url = shop_url
        self._cookies = CookieJar()
        self._browser = build_opener(HTTPCookieProcessor(self._cookies))
        self._browser.open(f"{shop_url}/", timeout=30).read()
        self._token = next(str(c.value) for c in self._cookies if c.name == "csrftoken")

    def order(self, email: str, item: str) -> None:
        """Place an order."""
        self._send("/orders/", urlencode({"email": email, "item": item}).encode())

    def import_regions(self) -> None:
        """Press the button."""
        self._send("/regions/", b"")

    def send_picture(self, order_id: int) -> None:
        """Upload a picture of 800 x 600."""
        out = io.BytesIO()
        Image.effect_noise((800, 600), 60).save(out, "PNG")
        mark = secrets.token_hex(12)
        head = (
            f'--{mark}\r\nContent-Disposition: form-data; name="picture"; filename="order-{order_id}.png"\r\n'
            "Content-Type: image/png\r\n\r\n"
        )
        body = head.encode() + out.getvalue() + f"\r\n--{mark}--\r\n".encode()
        self._send(f"/orders/{order_id}/picture/", body, f"multipart/form-data; boundary={mark}")

    def _send(self, path: str, body: bytes, kind: str = "application/x-www-form-urlencoded") -> None:
        headers = {"X-CSRFToken": self._token, "Content-Type": kind, "Referer": self._shop_url}
        self._browser.open(Request(self._shop_url + path, body, headers), timeout=30).read()
