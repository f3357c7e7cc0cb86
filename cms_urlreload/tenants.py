"""Whether pages are read from another schema of the database for each request, as multi-tenant
packages have it. A process has one set of apphook URLs, so that all tenants would get those of one:
this package refuses to run there. Makes no query.
"""

from __future__ import annotations

from typing import Any

from django.apps import apps
from django.core.exceptions import ImproperlyConfigured
from django.db import connections, router

#: Packages that set the ``search_path`` for each request: what their modules' names begin with.
PACKAGES = (
    "django_tenants",
    "tenant_schemas",
    "django_pgschemas",
    "db_multitenant",
    "django_schemata",
    "appschema",
)
#: What their database backends have in common, and those that were made after them.
ATTRIBUTES = ("set_schema", "set_tenant", "schema_name")

INSTEAD = (
    "Remove cms_urlreload and cms_urlreload_pg from INSTALLED_APPS, and use "
    "cms.middleware.utils.ApphookReloadMiddleware of django CMS in the place of "
    "cms_urlreload.middleware.UrlReloadMiddleware: it is right there, and slower."
)


def trouble() -> str | None:
    """Return what sets another schema for each request, in a sentence; None if nothing does, as
    far as can be seen from the settings."""
    culprit = _culprit()
    if culprit is None:
        return None
    return (
        f"{culprit} sets another schema for each request, and a process has one set of apphook "
        "URLs: all tenants would get those of one."
    )


def refuse() -> None:
    """Stop a server at its start, where no system checks run.

    :raises ImproperlyConfigured: says what sets the schema, and what to use instead.
    """
    found = trouble()
    if found is not None:
        raise ImproperlyConfigured(f"{found} {INSTEAD}")


def _culprit() -> str | None:
    from cms.models import PageUrl  # the middleware's module may be imported before the models

    for alias in dict.fromkeys((router.db_for_write(PageUrl), router.db_for_read(PageUrl))):
        if _switches(connections[alias]):
            engine = connections[alias].settings_dict["ENGINE"]
            return f"The engine {engine!r} of DATABASES[{alias!r}]"
    # Such an app may be there for another database than that of the pages.
    if not any(_switches(connections[alias]) for alias in connections):
        for package in PACKAGES:
            if any(_is_of(config.name, package) for config in apps.get_app_configs()):
                return f"The app {package!r}"
    return None


def _switches(connection: Any) -> bool:
    modules = [cls.__module__ for cls in type(connection).__mro__]
    return any(_is_of(module, package) for module in modules for package in PACKAGES) or any(
        hasattr(connection, name) for name in ATTRIBUTES
    )


def _is_of(module: str, package: str) -> bool:
    return module.partition(".")[0] == package
