"""Settings of the shop. REDIS_URL and DATABASE_URL say where its data is; without them it is on this machine."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from testproject.database import database

BASE_DIR = Path(__file__).resolve().parent.parent
VAR_DIR = Path(os.environ.get("SHOP_VAR_DIR") or BASE_DIR / "testproject" / "var")
VAR_DIR.mkdir(parents=True, exist_ok=True)

SECRET_KEY = "a shop for demonstration only"
DEBUG = True
ALLOWED_HOSTS = os.environ.get("SHOP_HOSTS", "localhost,127.0.0.1,[::1]").split(",")
USE_TZ = True
TIME_ZONE = "Asia/Ho_Chi_Minh"
ROOT_URLCONF = "testproject.urls"
WSGI_APPLICATION = "testproject.wsgi.application"
ASGI_APPLICATION = "testproject.asgi.application"
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
MEDIA_ROOT = VAR_DIR / "media"
MEDIA_URL = "media/"
STATIC_URL = "static/"

INSTALLED_APPS = [
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.messages",
    "django.contrib.sessions",
    "django.contrib.staticfiles",
    "django_sidekick",
    "testproject.shop",
]
MIDDLEWARE = [
    "testproject.policy.strict_policy",
    "django.middleware.security.SecurityMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ]
        },
    }
]

DATABASES = {"default": database(os.environ.get("DATABASE_URL", ""), VAR_DIR / "shop.sqlite3")}
EMAIL_BACKEND = "django.core.mail.backends.smtp.EmailBackend"
EMAIL_HOST = os.environ.get("SHOP_SMTP_HOST", "127.0.0.1")
EMAIL_PORT = int(os.environ.get("SHOP_SMTP_PORT", "2525"))
EMAIL_TIMEOUT = 10
CARRIER_URL = os.environ.get("SHOP_CARRIER_URL", "http://127.0.0.1:8000/carrier/quote/")
CARRIER_PAUSE_S = float(os.environ.get("SHOP_CARRIER_PAUSE_S", "3"))
WAREHOUSE_URL = os.environ.get("SHOP_WAREHOUSE_URL", "http://127.0.0.1:9/stock/")

SIDEKICK: dict[str, Any] = {"KEY_PREFIX": os.environ.get("SHOP_KEY_PREFIX", "")}
if os.environ.get("SHOP_COUNTS_JOBS"):
    SIDEKICK |= {
        "CLIENT_MIDDLEWARE": ["testproject.shop.counting.count_enqueued"],
        "MIDDLEWARE": ["testproject.shop.counting.count_retried"],
    }
