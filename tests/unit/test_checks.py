from __future__ import annotations

from importlib import metadata
from typing import Any

import pytest
from django.core import checks as django_checks
from django.core.checks import Error, Info, run_checks

from cms_urlreload import checks
from cms_urlreload_pg import checks as pg_checks
from cms_urlreload_pg import driver

OURS = checks.MIDDLEWARE
CORE = checks.CORE_MIDDLEWARE
LOCALE = "django.middleware.locale.LocaleMiddleware"
SECURITY = "django.middleware.security.SecurityMiddleware"

# Django's own check of URLs has django CMS build the apphooks.
pytestmark = pytest.mark.django_db


def found() -> list[Any]:
    return [message for message in run_checks() if str(message.id).startswith("cms_urlreload")]


def test_nothing_is_wrong_with_the_demo_site() -> None:
    assert found() == []


def test_settings__name_the_key(settings: Any) -> None:
    settings.CMS_URLRELOAD = {"POLL_INTERVALL": 1, "CHANNEL": ""}
    assert found() == [
        Error(
            "CMS_URLRELOAD has an unknown key 'POLL_INTERVALL'.",
            hint="Known keys: POLL_INTERVAL, HEARTBEAT_INTERVAL, HEARTBEAT_TIMEOUT, "
            "CONNECT_TIMEOUT, CHANNEL, LISTEN, LISTEN_DATABASE, LISTEN_DSN, CONFIG_MODELS, "
            "METRICS.",
            id="cms_urlreload.E001",
        ),
        Error(
            "CMS_URLRELOAD['CHANNEL'] must be a name of 1 to 63 bytes, without a null character, "
            "not ''.",
            hint="Correct it.",
            id="cms_urlreload.E001",
        ),
    ]


def test_config_models__names_a_model_that_is_not_there(settings: Any) -> None:
    settings.CMS_URLRELOAD = {"CONFIG_MODELS": ["news.Story", "news.Novel", "nws.Story"]}
    assert found() == [
        Error(
            f"CMS_URLRELOAD['CONFIG_MODELS'] names {name!r}, and there is no such model.",
            hint='Write it as "app_label.ModelName"; its app must be in INSTALLED_APPS.',
            id="cms_urlreload.E004",
        )
        for name in ("news.Novel", "nws.Story")
    ]


def test_middleware__is_missing(settings: Any) -> None:
    settings.MIDDLEWARE = [SECURITY, LOCALE]
    assert checks.check_middleware_installed(None) == [checks.W001]
    assert checks.check_middleware_order(None) == []


def test_middleware__stands_beside_that_of_django_cms(settings: Any) -> None:
    settings.MIDDLEWARE = [OURS, CORE]
    assert checks.check_middleware_installed(None) == [checks.E002]


def test_middleware__is_too_low(settings: Any) -> None:
    settings.MIDDLEWARE = [SECURITY, LOCALE, OURS]
    assert checks.check_middleware_order(None) == [
        django_checks.Warning(
            f"{OURS} comes after {LOCALE}, which may resolve a URL before it is current.",
            hint=f"Move {OURS} above {LOCALE}.",
            id="cms_urlreload.W003",
        )
    ]


def test_middleware__may_come_after_what_resolves_nothing(settings: Any) -> None:
    settings.MIDDLEWARE = [SECURITY, OURS, LOCALE]
    assert checks.check_middleware_order(None) == []


def test_psycopg__is_missing(monkeypatch: Any) -> None:
    monkeypatch.setattr(driver, "REQUIRED", (99, 0, 0))
    [message] = pg_checks.check_psycopg(None)
    assert message.id == "cms_urlreload_pg.W001"
    assert "99.0.0 or newer is needed" in message.msg
    assert message.hint is not None
    assert 'pip install "django-cms-urlreload[postgres]"' in message.hint


def test_psycopg__is_not_installed(monkeypatch: Any) -> None:
    def version(name: str) -> str:
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "version", version)
    assert driver.missing() == "psycopg 3.2.10 or newer is not installed"


@pytest.mark.parametrize(
    ("installed", "good"),
    [("3.2.9", False), ("3.2.10", True), ("3.3.9", True), ("4.0.0rc1", True), ("3.2", False)],
)
def test_psycopg__is_too_old(installed: str, good: bool, monkeypatch: Any) -> None:
    monkeypatch.setattr(metadata, "version", lambda name: installed)
    assert (driver.missing() is None) is good


def test_vendor__is_not_postgresql(settings: Any) -> None:
    settings.DATABASE_ROUTERS = ["tests.unit.test_checks.ToLite"]
    [message] = pg_checks.check_vendor(None)
    assert isinstance(message, Info)
    assert message.id == "cms_urlreload_pg.I002"
    assert "'lite', which is sqlite and not PostgreSQL" in message.msg


class ToLite:
    def db_for_write(self, model: Any, **hints: Any) -> str:
        return "lite"


def test_listen_database__is_no_alias(settings: Any) -> None:
    settings.CMS_URLRELOAD = {"LISTEN_DATABASE": "direct"}
    assert pg_checks.check_listen_address(None) == [
        Error(
            "CMS_URLRELOAD['LISTEN_DATABASE'] is 'direct', which is not in DATABASES.",
            hint="Aliases: default, lite.",
            id="cms_urlreload_pg.E003",
        )
    ]


def test_listen_database__is_not_postgresql(settings: Any) -> None:
    settings.CMS_URLRELOAD = {"LISTEN_DATABASE": "lite"}
    [message] = pg_checks.check_listen_address(None)
    assert message.id == "cms_urlreload_pg.E003"
    assert "'lite', which is not PostgreSQL" in message.msg


def test_listen_dsn__is_wrong__and_not_shown(settings: Any) -> None:
    settings.CMS_URLRELOAD = {"LISTEN_DSN": "host=db pasword=hunter2"}
    [message] = pg_checks.check_listen_address(None)
    assert message.id == "cms_urlreload_pg.E004"
    assert "hunter2" not in f"{message.msg}{message.hint}"


@pytest.mark.parametrize("dsn", ["postgresql://u:p@h:5432/d", "host=h dbname=d"])
def test_listen_dsn__is_right(dsn: str, settings: Any) -> None:
    settings.CMS_URLRELOAD = {"LISTEN_DSN": dsn}
    assert pg_checks.check_listen_address(None) == []
