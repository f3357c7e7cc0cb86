"""A schema for each request is refused, by a check and at the start of a server."""

from __future__ import annotations

import types
from collections.abc import Iterator
from typing import Any

import pytest
from django.apps import apps
from django.core.exceptions import ImproperlyConfigured
from django.db import connections
from django.http import HttpResponse
from django.test import modify_settings

from cms_urlreload import tenants
from cms_urlreload.checks import check_tenants
from cms_urlreload.middleware import UrlReloadMiddleware

INSTEAD = "cms.middleware.utils.ApphookReloadMiddleware"


@pytest.fixture(autouse=True)
def _own_wrappers() -> Iterator[None]:
    """What a test makes of a wrapper of Django's is gone after it."""
    before = {alias: type(connections[alias]) for alias in connections}
    yield
    for alias, cls in before.items():
        connections[alias].__class__ = cls


def become(alias: str, module: str, **attributes: Any) -> None:
    """Have the alias be of another engine."""
    wrapper = connections[alias]
    namespace = {"__module__": module, **attributes}
    wrapper.__class__ = type("DatabaseWrapper", (type(wrapper),), namespace)


def check_refused(culprit: str) -> None:
    [message] = check_tenants(None)
    assert message.id == "cms_urlreload.E011"
    assert culprit in message.msg
    assert INSTEAD in str(message.hint)
    with pytest.raises(ImproperlyConfigured) as caught:
        UrlReloadMiddleware(lambda request: HttpResponse())
    assert culprit in str(caught.value)
    assert INSTEAD in str(caught.value)


def test_engine__of_the_pages_is_refused() -> None:
    for module in ("django_tenants.postgresql_backend.base", "django_pgschemas.postgresql.base"):
        become("default", module)
        check_refused("The engine 'django.db.backends.postgresql' of DATABASES['default']")


def test_engine__derived_by_a_project_is_refused() -> None:
    become("default", "tenant_schemas.postgresql_backend.base")
    become("default", "project.backend.base")
    check_refused("DATABASES['default']")


@pytest.mark.parametrize("name", ["set_schema", "set_tenant", "schema_name"])
def test_engine__that_nobody_knows_is_refused(name: str) -> None:
    become("default", "project.backend.base", **{name: "x"})
    check_refused("DATABASES['default']")


class ReadFromLite:
    def db_for_read(self, model: Any, **hints: Any) -> str:
        return "lite"


def test_engine__of_a_replica_is_refused(settings: Any) -> None:
    settings.DATABASE_ROUTERS = ["tests.unit.test_tenants.ReadFromLite"]
    become("lite", "django_tenants.postgresql_backend.base")
    check_refused("DATABASES['lite']")


def test_engine__of_another_database_is_none_of_ours() -> None:
    become("lite", "django_tenants.postgresql_backend.base")
    assert check_tenants(None) == []
    tenants.refuse()


def install(monkeypatch: Any, name: str) -> None:
    configs = [*apps.get_app_configs(), types.SimpleNamespace(name=name)]
    monkeypatch.setattr(apps, "get_app_configs", lambda: configs)


@pytest.mark.parametrize("name", tenants.PACKAGES)
def test_app__is_refused(name: str, monkeypatch: Any) -> None:
    install(monkeypatch, name)
    check_refused(f"The app {name!r}")


def test_app__may_be_there_for_another_database(monkeypatch: Any) -> None:
    install(monkeypatch, "django_tenants")
    become("lite", "django_tenants.postgresql_backend.base")
    assert check_tenants(None) == []


def test_nothing_is_refused__on_the_demo_site() -> None:
    assert check_tenants(None) == []
    with modify_settings(INSTALLED_APPS={"remove": "cms_urlreload_pg"}):
        assert check_tenants(None) == []
    UrlReloadMiddleware(lambda request: HttpResponse())
