"""A customer of the shop, over HTTP and with its forms, as a browser would."""

from __future__ import annotations

import re
import secrets
import struct
import zlib
from http.client import HTTPResponse
from http.cookiejar import CookieJar
from urllib.error import HTTPError, URLError
from urllib.parse import urlencode
from urllib.request import HTTPCookieProcessor, Request, build_opener

TIMEOUT_S = 30


class Refused(Exception):
    """The shop did not answer a request as it should; the message says which."""


class Customer:
    """Look at the page once for its token and its goods, then send forms."""

    def __init__(self, shop_url: str) -> None:
        self._shop_url = shop_url
        cookies = CookieJar()
        self._browser = build_opener(HTTPCookieProcessor(cookies))
        status, page, _ = self.request("/")
        if status != 200:
            raise Refused(f"The shop's page was answered with {status}.")
        self._token = next(str(cookie.value) for cookie in cookies if cookie.name == "csrftoken")
        self._products = re.findall(r'data-product="(\d+)" data-stock="(\d+)"', page)

    def order(self, email: str) -> int:
        """Order something that is there. Return the order's number."""
        fields = {"email": email, "product": self._product(in_stock=True)}
        return int(self._accepted("/orders/", fields).rstrip("/").rpartition("/")[2])

    def order_what_is_sold_out(self) -> int:
        """Order something that is not there. Return the status of the answer."""
        fields = {"email": "late@example.com", "product": self._product(in_stock=False)}
        return self.send("/orders/", fields)[0]

    def import_regions(self) -> None:
        """Press the button."""
        self._accepted("/regions/", {})

    def close(self, order_id: int) -> None:
        """Press the button."""
        self._accepted(f"/orders/{order_id}/close/", {})

    def send_picture(self, order_id: int) -> None:
        """Upload a picture of 800 x 600."""
        status, _, _ = self.upload(order_id, picture(800, 600))
        if status != 200:
            raise Refused(f"The picture of order {order_id} was answered with {status}.")

    def upload(self, order_id: int, content: bytes, name: str = "mine.png") -> tuple[int, str, str]:
        """Upload a file as a picture. Return status, page and final address of the answer."""
        mark = secrets.token_hex(12)
        head = (
            f'--{mark}\r\nContent-Disposition: form-data; name="picture"; filename="{name}"\r\n'
            "Content-Type: image/png\r\n\r\n"
        )
        body = head.encode() + content + f"\r\n--{mark}--\r\n".encode()
        return self.request(f"/orders/{order_id}/picture/", body, f"multipart/form-data; boundary={mark}")

    def send(self, path: str, fields: dict[str, str]) -> tuple[int, str, str]:
        """Send a form. Return status, page and final address of the answer."""
        return self.request(path, urlencode(fields).encode())

    def request(
        self, path: str, body: bytes | None = None, kind: str = "application/x-www-form-urlencoded"
    ) -> tuple[int, str, str]:
        """Ask for a page, or send a body. Return status, page and final address of the answer, errors too."""
        headers = {"Referer": self._shop_url}
        if body is not None:
            headers |= {"X-CSRFToken": self._token, "Content-Type": kind}
        try:
            answer: HTTPResponse = self._browser.open(Request(self._shop_url + path, body, headers), timeout=TIMEOUT_S)
        except HTTPError as error:
            with error:
                return error.code, error.read().decode(errors="replace"), error.url or ""
        except URLError as error:
            raise Refused(f"The shop does not answer {path}: {error.reason}") from error
        with answer:
            return answer.status, answer.read().decode(errors="replace"), answer.url

    def _product(self, *, in_stock: bool) -> str:
        return next(key for key, stock in self._products if (int(stock) > 0) is in_stock)

    def _accepted(self, path: str, fields: dict[str, str]) -> str:
        status, _, url = self.send(path, fields)
        if status != 200:
            raise Refused(f"A form sent to {path} was answered with {status}.")
        return url


def picture(width: int, height: int) -> bytes:
    """Return a PNG with a gradient, written by hand: Pillow belongs to the job that makes thumbnails."""
    row = bytes(byte for x in range(width) for byte in (x * 255 // width, 120, 200))
    pixels = zlib.compress(b"".join(b"\0" + row for _ in range(height)))
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    parts = ((b"IHDR", header), (b"IDAT", pixels), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in parts
    )
