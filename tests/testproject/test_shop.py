"""The shop's views over its own settings, in a process of their own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
SCRIPT = """
import io, json
import django; django.setup()
from django.core.management import call_command
call_command("migrate", verbosity=0)
from django.test import Client
from PIL import Image
from django.core.files.uploadedfile import SimpleUploadedFile
from django_sidekick.broker.broker import get_broker
from django_sidekick.broker.inspector import Inspector
from testproject.shop.models import Order

client, inspector = Client(), Inspector(get_broker())
said = {}
said["page"] = client.get("/").status_code
said["bad order"] = client.post("/orders/", {"email": "no", "item": ""}).status_code
said["order"] = client.post("/orders/", {"email": "a@example.com", "item": "Teapot"}).status_code
said["queues"] = inspector.queues()
said["scheduled"] = inspector.sizes()["schedule"]
said["no picture"] = client.post("/orders/1/picture/", {}).status_code
said["no such order"] = client.post("/orders/99/picture/", {}).status_code
said["get"] = client.get("/orders/").status_code
out = io.BytesIO(); Image.new("RGB", (300, 200)).save(out, "PNG")
picture = SimpleUploadedFile("x.png", out.getvalue(), "image/png")
said["picture"] = client.post("/orders/1/picture/", {"picture": picture}).status_code
said["regions"] = client.post("/regions/").status_code
said["low"] = inspector.queues()["low"]
print(json.dumps(said))
"""


def test_views_enqueue_what_follows(redis, redis_url, tmp_path):
    environment = {
        **os.environ, "DJANGO_SETTINGS_MODULE": "testproject.settings", "REDIS_URL": redis_url,
        "SHOP_VAR_DIR": str(tmp_path), "PYTHONPATH": str(ROOT),
    }  # fmt: skip
    done = subprocess.run([sys.executable, "-c", SCRIPT], cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr

    import json

    said = json.loads(done.stdout.splitlines()[-1])
    assert said == {
        "page": 200, "bad order": 400, "order": 302, "queues": {"default": 1, "mail": 1}, "scheduled": 2,
        "no picture": 400, "no such order": 404, "get": 405, "picture": 302, "regions": 302, "low": 12,
    }  # fmt: skip
