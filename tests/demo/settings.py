"""Settings of the demo site, all taken from DEMO_* environment variables.

For demo and tests only: the secret key is public and the superuser's password is "admin".
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

import django

DEMO_DIR = Path(__file__).resolve().parent


def database_from_url(url: str) -> dict[str, Any]:
    """Django's DATABASES entry for ``postgresql://user:password@host:port/db?option=value``.

    ``sqlite:///relative.db`` and ``sqlite:////absolute.db`` name a file, as elsewhere;
    ``mysql://user:password@host:port/db`` is a MySQL or MariaDB server.
    """
    parts = urlsplit(url)
    if parts.scheme == "sqlite":
        # A waiting writer is better than "database is locked" with several processes.
        options: dict[str, Any] = {"timeout": 20}
        if django.VERSION >= (5, 1):  # older ones do not know the option
            options["transaction_mode"] = "IMMEDIATE"
        name = unquote(parts.path[1:])
        return {"ENGINE": "django.db.backends.sqlite3", "NAME": name, "OPTIONS": options}
    if parts.scheme == "mysql":
        import pymysql

        pymysql.install_as_MySQLdb()  # the driver that Django knows has to be compiled
        return {"ENGINE": "django.db.backends.mysql", **_server(parts)}
    if parts.scheme not in ("postgresql", "postgres"):
        raise ValueError(f"DEMO_DATABASE_URL: unknown scheme {parts.scheme!r}")
    return {
        "ENGINE": "django.db.backends.postgresql",
        **_server(parts),
        "CONN_MAX_AGE": int(os.environ.get("DEMO_CONN_MAX_AGE", "60")),
        "CONN_HEALTH_CHECKS": _flag("DEMO_CONN_HEALTH_CHECKS"),
        "DISABLE_SERVER_SIDE_CURSORS": _flag("DEMO_DISABLE_SERVER_SIDE_CURSORS"),
        "OPTIONS": dict(parse_qsl(parts.query)),
    }


def _server(parts: SplitResult) -> dict[str, str]:
    return {
        "NAME": unquote(parts.path[1:]),
        "USER": unquote(parts.username or ""),
        "PASSWORD": unquote(parts.password or ""),
        "HOST": parts.hostname or "",
        "PORT": str(parts.port or ""),
    }


def _flag(name: str) -> bool:
    return os.environ.get(name, "").lower() in ("1", "true", "yes", "on")


def _words(name: str) -> list[str]:
    return os.environ.get(name, "").replace(",", " ").split()


# Which middleware reloads the URLs: ours, core's, or none (then only a restart does).
RELOAD = os.environ.get("DEMO_RELOAD", "ours")
RELOAD_APPS = {"ours": ["cms_urlreload", "cms_urlreload_pg"], "core": [], "none": []}[RELOAD]
RELOAD_MIDDLEWARE = {
    "ours": ["cms_urlreload.middleware.UrlReloadMiddleware"],
    "core": ["cms.middleware.utils.ApphookReloadMiddleware"],
    "none": [],
}[RELOAD]
CMS_URLRELOAD: dict[str, Any] = json.loads(os.environ.get("DEMO_CMS_URLRELOAD", "{}"))

SECRET_KEY = "for-the-demo-only"
DEBUG = _flag("DEMO_DEBUG")
ALLOWED_HOSTS = ["127.0.0.1", "localhost", "[::1]", *_words("DEMO_ALLOWED_HOSTS")]

# Empty: the site is found by the request's host, and one process serves several sites.
if _site_id := os.environ.get("DEMO_SITE_ID", "1"):
    SITE_ID = int(_site_id)

INSTALLED_APPS = [
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.sites",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "cms",
    "menus",
    "treebeard",
    "sekizai",
    *RELOAD_APPS,
    "tests.demo.news",
    "tests.demo.events",
    *_words("DEMO_EXTRA_APPS"),
]

MIDDLEWARE = [
    "tests.demo.middleware.WorkerPidMiddleware",
    # Before LocaleMiddleware and CommonMiddleware, which already resolve URLs.
    *RELOAD_MIDDLEWARE,
    "django.middleware.security.SecurityMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.locale.LocaleMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "cms.middleware.user.CurrentUserMiddleware",
    "cms.middleware.page.CurrentPageMiddleware",
    "cms.middleware.toolbar.ToolbarMiddleware",
    "cms.middleware.language.LanguageCookieMiddleware",
]

ROOT_URLCONF = os.environ.get("DEMO_ROOT_URLCONF", "tests.demo.urls")
WSGI_APPLICATION = "tests.demo.wsgi.application"
ASGI_APPLICATION = "tests.demo.asgi.application"

TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [DEMO_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
                "django.template.context_processors.i18n",
                "django.template.context_processors.static",
                "sekizai.context_processors.sekizai",
                "cms.context_processors.cms_settings",
                "tests.demo.context_processors.worker",
            ],
        },
    },
]

DATABASES = {
    "default": database_from_url(os.environ.get("DEMO_DATABASE_URL", "sqlite:///:memory:"))
}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
PASSWORD_HASHERS = ["django.contrib.auth.hashers.PBKDF2PasswordHasher"]

# One cache a process, as the default is. Whatever django CMS would keep in it about pages and
# menus would be out of date in the other workers after an edit, and would hide what the demo
# shows; so that is off unless a test asks for it.
CACHES = {"default": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"}}
CMS_PAGE_CACHE = _flag("DEMO_PAGE_CACHE")
CMS_PLACEHOLDER_CACHE = False
CMS_CACHE_DURATIONS = {
    "content": int(os.environ.get("DEMO_CONTENT_CACHE", "0")),
    "menus": int(os.environ.get("DEMO_MENU_CACHE", "0")),
    "permissions": 0,
}

CMS_CONFIRM_VERSION4 = True
CMS_TEMPLATES = [("demo/page.html", "Page")]
CMS_PERMISSION = False
X_FRAME_OPTIONS = "SAMEORIGIN"  # the toolbar's dialogs are frames

LANGUAGE_CODE = "en"
LANGUAGES = [("en", "English"), ("de", "Deutsch")]
USE_I18N = True
USE_TZ = True
TIME_ZONE = "UTC"

# Of django CMS itself, about a later major version of treebeard.
SILENCED_SYSTEM_CHECKS = ["treebeard.E001"]

STATIC_URL = "/static/"

LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {
        "line": {"format": "%(asctime)s [%(process)d] %(levelname)s %(name)s: %(message)s"}
    },
    "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "line"}},
    "root": {"handlers": ["stderr"], "level": "WARNING"},
    "loggers": {
        "cms_urlreload": {"level": os.environ.get("DEMO_LOG_LEVEL", "INFO")},
        "cms_urlreload_pg": {"level": os.environ.get("DEMO_LOG_LEVEL", "INFO")},
        # A 404 is an expected answer here: the driver asks for URLs that must be gone.
        "django.request": {"level": "ERROR"},
    },
}
