from __future__ import annotations

import sys
from importlib import metadata
from types import ModuleType
from typing import Any

import pytest
from django.contrib.auth.decorators import login_required
from django.core import checks as django_checks
from django.core.checks import Error, Info, run_checks
from django.db import connection
from django.test import modify_settings
from django.urls import URLPattern, clear_url_caches, include, path

from cms_urlreload import checks, report, urltree
from cms_urlreload_pg import checks as pg_checks
from cms_urlreload_pg import driver
from tests.forms.tools import rebuilt
from tests.support.versions import since_cms, tree_model, until_cms

OURS = checks.MIDDLEWARE
CORE = checks.CORE_MIDDLEWARE
ALDRYN = "aldryn_apphook_reload.middleware.ApphookReloadMiddleware"
LOCALE = "django.middleware.locale.LocaleMiddleware"
SECURITY = "django.middleware.security.SecurityMiddleware"
#: Those with triggers.
TABLES = {"cms_page", "cms_pageurl", "cms_urlconfrevision", tree_model()._meta.db_table}

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
            hint="Known keys: POLL_INTERVAL, REFRESH_TIMEOUT, HEARTBEAT_INTERVAL, "
            "HEARTBEAT_TIMEOUT, CONNECT_TIMEOUT, CHANNEL, LISTEN, LISTEN_DATABASE, LISTEN_DSN, "
            "CONFIG_MODELS, METRICS.",
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


def urlconf_findings(settings: Any, urlpatterns: Any) -> list[Any]:
    module = ModuleType("tests.checked_urls")
    module.urlpatterns = urlpatterns  # type: ignore[attr-defined]
    sys.modules[module.__name__] = module
    settings.ROOT_URLCONF = module.__name__
    try:
        return checks.check_urlconfs(None)
    finally:
        del sys.modules[module.__name__]
        clear_url_caches()


def test_urlconfs__are_followed(settings: Any, django_assert_num_queries: Any) -> None:
    patterns = (path("x/", include(([path("", include("cms.urls"))], "x"))),)
    with django_assert_num_queries(0):
        assert urlconf_findings(settings, patterns) == []


def test_urlconfs__rebuild_what_they_include(settings: Any, monkeypatch: Any) -> None:
    from cms import urls

    views = [each for each in urls.urlpatterns if isinstance(each, URLPattern)]
    copies = rebuilt(views, login_required)
    monkeypatch.setattr(report, "check_urlconfs", lambda _: urlconf_findings(settings, copies))
    [line] = report.report_urlconfs()
    assert "ROOT_URLCONF (tests.checked_urls) is imported again" in line
    assert urlconf_findings(settings, copies) == [
        django_checks.Warning(
            "ROOT_URLCONF (tests.checked_urls) is imported again at each change of apphook URLs, "
            "as django CMS does it. tests.checked_urls: views of django CMS are wrapped. "
            "tests.checked_urls: it has the patterns of cms.urls without its apphooks.",
            hint=urltree.REMEDY,
            id="cms_urlreload.W012",
        )
    ]


def test_urlconfs__have_no_cms(settings: Any) -> None:
    [found] = urlconf_findings(settings, [path("x/", rebuilt)])  # type: ignore[arg-type]
    assert found.id == "cms_urlreload.I013"


def test_middleware__is_missing(settings: Any) -> None:
    settings.MIDDLEWARE = [SECURITY, LOCALE]
    assert checks.check_middleware_installed(None) == [checks.W001]
    assert checks.check_middleware_order(None) == []


@pytest.mark.parametrize("other", [CORE, ALDRYN])
def test_middleware__stands_beside_another_for_the_same_job(other: str, settings: Any) -> None:
    settings.MIDDLEWARE = [OURS, other]
    assert checks.check_middleware_installed(None) == [
        Error(
            f"Both {OURS} and {other} are in MIDDLEWARE: that one queries the database on every "
            "request, and while it reloads, apphooks are missing.",
            hint=f"Remove {other}.",
            id="cms_urlreload.E002",
        )
    ]


@pytest.mark.parametrize("other", [CORE, ALDRYN])
def test_middleware__is_another_for_the_same_job(other: str, settings: Any) -> None:
    settings.MIDDLEWARE = [SECURITY, other]
    assert checks.check_middleware_installed(None) == [
        django_checks.Warning(
            f"{OURS} is not in MIDDLEWARE, and {other} is: processes that answer requests follow "
            "what that one notices, at a query for each of them.",
            hint=f"Put {OURS} in the place of {other}.",
            id="cms_urlreload.W001",
        )
    ]


def test_middleware__is_misspelled(settings: Any) -> None:
    settings.MIDDLEWARE = ["cms_urlreload.middleware.UrlReload", LOCALE]
    assert checks.check_middleware_installed(None) == [
        Error(
            "MIDDLEWARE has 'cms_urlreload.middleware.UrlReload', and there is no such middleware.",
            hint=f"Write it as '{OURS}'.",
            id="cms_urlreload.E007",
        )
    ]


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


def test_listen_dsn__makes_listen_database_useless(settings: Any) -> None:
    settings.CMS_URLRELOAD = {"LISTEN_DSN": "host=h", "LISTEN_DATABASE": "default"}
    assert pg_checks.check_listen_address(None) == [
        django_checks.Warning(
            "CMS_URLRELOAD has both LISTEN_DSN and LISTEN_DATABASE; 'default' is not used.",
            hint="Remove one of the two.",
            id="cms_urlreload_pg.W009",
        )
    ]


@pytest.mark.parametrize("name", ["CMS_URL_RELOAD", "CMS_URLRELOAD_CHANNEL"])
def test_a_setting_that_nobody_reads(name: str, settings: Any) -> None:
    setattr(settings, name, "news")
    assert found() == [
        django_checks.Warning(
            f"The setting {name} is read by nobody.",
            hint="All options are keys of one dictionary, CMS_URLRELOAD.",
            id="cms_urlreload.W005",
        )
    ]


def test_config_models__are_in_another_database(settings: Any) -> None:
    settings.CMS_URLRELOAD = {"CONFIG_MODELS": ["news.Story"]}
    settings.DATABASE_ROUTERS = ["tests.unit.test_checks.StoriesInLite"]
    assert checks.check_config_databases(None) == [
        django_checks.Warning(
            "CMS_URLRELOAD['CONFIG_MODELS'] names 'news.Story', whose rows are in the database "
            "'lite' and the pages in 'default': they do not count for the token.",
            hint="Leave it out, and send cms.signals.urls_need_reloading after each change.",
            id="cms_urlreload.W006",
        )
    ]


class StoriesInLite:
    def db_for_read(self, model: Any, **hints: Any) -> str | None:
        return "lite" if model._meta.app_label == "news" else None

    db_for_write = db_for_read


@until_cms((5, 0), "SITE_ID may be missing")
def test_site_id__is_missing(settings: Any) -> None:
    del settings.SITE_ID
    assert checks.check_site_id(None) == [
        Error(
            "SITE_ID is not set: django CMS needs it before version 5.1.",
            hint="Set it, in the settings of each site's processes.",
            id="cms_urlreload.E009",
        )
    ]


@since_cms((5, 1), "SITE_ID must be set")
def test_site_id__may_be_missing(settings: Any) -> None:
    del settings.SITE_ID
    assert checks.check_site_id(None) == []


def test_apps__what_pushes_is_not_installed() -> None:
    with modify_settings(INSTALLED_APPS={"remove": "cms_urlreload_pg"}):
        assert checks.check_push(None) == [
            django_checks.Warning(
                "The pages are in the database 'default', which could push, and is polled: "
                "cms_urlreload_pg is not in INSTALLED_APPS.",
                hint="Add 'cms_urlreload_pg' to INSTALLED_APPS, and run 'manage.py migrate'. If "
                "polling is meant to be so, silence this with "
                'SILENCED_SYSTEM_CHECKS = ["cms_urlreload.W010"].',
                id="cms_urlreload.W010",
            )
        ]


def test_apps__what_pushes_is_not_wanted(settings: Any) -> None:
    settings.DATABASE_ROUTERS = ["tests.unit.test_checks.ToLite"]
    assert checks.check_push(None) == []


def test_apps__cms_urlreload_is_not_installed() -> None:
    with modify_settings(INSTALLED_APPS={"remove": "cms_urlreload"}):
        assert pg_checks.check_core_installed(None) == [
            Error(
                "cms_urlreload_pg is in INSTALLED_APPS, and cms_urlreload is not: changes by "
                "Django's ORM are not announced, and what is wrong is not told.",
                hint="Add 'cms_urlreload' to INSTALLED_APPS.",
                id="cms_urlreload_pg.E006",
            )
        ]


def test_config_columns__have_no_binary_form(settings: Any) -> None:
    settings.CMS_URLRELOAD = {"CONFIG_MODELS": ["news.Story"]}
    with connection.cursor() as cursor:
        cursor.execute("CREATE EXTENSION seg")
        cursor.execute("CREATE TYPE pair AS (a integer, b seg[])")
        cursor.execute("CREATE DOMAIN pairs AS pair[]")
        cursor.execute("ALTER TABLE news_story ALTER text TYPE pairs USING NULL")
    assert pg_checks.check_config_columns(None, databases=["default"]) == [
        Error(
            "CMS_URLRELOAD['CONFIG_MODELS'] names a model with the field 'news.Story.text', whose "
            "type 'seg' has no binary form in PostgreSQL: the apphook URLs cannot be refreshed.",
            hint="Leave the model out, and send cms.signals.urls_need_reloading after each change.",
            id="cms_urlreload_pg.E010",
        )
    ]


def test_config_columns__are_those_of_the_demo_site(settings: Any) -> None:
    settings.CMS_URLRELOAD = {"CONFIG_MODELS": ["news.Story", "auth.User"]}
    assert pg_checks.check_config_columns(None, databases=["default"]) == []
    assert pg_checks.check_config_columns(None, databases=None) == []


def test_heartbeat_timeout__is_longer_than_sense(settings: Any) -> None:
    settings.CMS_URLRELOAD = {"HEARTBEAT_TIMEOUT": 5000}
    assert found() == [
        django_checks.Warning(
            "CMS_URLRELOAD['HEARTBEAT_TIMEOUT'] is 5000 seconds: for so long a worker whose "
            "connection has gone silent serves old URLs, and does not poll.",
            hint="Leave it out (5 seconds); a server that answers later than that is overloaded.",
            id="cms_urlreload_pg.W007",
        )
    ]


def test_listen__is_true_in_a_test_run(settings: Any) -> None:
    settings.CMS_URLRELOAD = {"LISTEN": True}
    assert found() == [
        django_checks.Warning(
            "CMS_URLRELOAD['LISTEN'] is True, and this is a test run: a listener keeps the test "
            "database from being dropped.",
            hint="Leave it out, and set it to True in those tests that need it.",
            id="cms_urlreload_pg.W008",
        )
    ]


def test_listen__is_true_outside_of_a_test_run(settings: Any, monkeypatch: Any) -> None:
    settings.CMS_URLRELOAD = {"LISTEN": True}
    monkeypatch.delattr("django.core.mail.outbox")
    assert found() == []


def test_triggers__announce_on_another_channel(settings: Any) -> None:
    settings.CMS_URLRELOAD = {"CHANNEL": "other"}
    [message] = pg_checks.check_triggers(None, databases=["default"])
    assert message == django_checks.Warning(
        "In the database 'default', the triggers that announce changes of apphook URLs are not "
        f"there, or not up to date, on {', '.join(sorted(TABLES))}. They announce on 'apphooks', "
        "and not on 'other'. Changes made past Django's signals are found by the heartbeat only.",
        hint="Run 'manage.py migrate cms_urlreload_pg' as the role that owns these tables.",
        id="cms_urlreload_pg.W005",
    )
