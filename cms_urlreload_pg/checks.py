"""System checks: is there a driver to listen with, and a PostgreSQL to listen to."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.apps import AppConfig
from django.core import checks
from django.core.checks import CheckMessage, Error, Info, Tags, register
from django.db import connections, router

from cms_urlreload.conf import SETTING, read

from . import driver


def check_psycopg(app_configs: Sequence[AppConfig] | None, **kwargs: Any) -> list[CheckMessage]:
    """A psycopg 3 that is new enough."""
    trouble = driver.missing()
    if trouble is None:
        return []
    return [
        checks.Warning(
            f"cms_urlreload_pg cannot listen: {trouble}. The database is polled instead.",
            hint='Install it: pip install "django-cms-urlreload[postgres]".',
            id="cms_urlreload_pg.W001",
        )
    ]


def check_vendor(app_configs: Sequence[AppConfig] | None, **kwargs: Any) -> list[CheckMessage]:
    """Pages are in PostgreSQL. Not an error: one settings file may serve a laptop as well."""
    from cms.models import PageUrl

    alias = router.db_for_write(PageUrl)
    vendor = connections[alias].vendor
    if vendor == "postgresql":
        return []
    return [
        Info(
            f"cms_urlreload_pg has nothing to do: the pages are in the database {alias!r}, which "
            f"is {vendor} and not PostgreSQL. It is polled.",
            hint='Silence this with SILENCED_SYSTEM_CHECKS = ["cms_urlreload_pg.I002"] if it is '
            "meant to be so.",
            id="cms_urlreload_pg.I002",
        )
    ]


def check_listen_address(
    app_configs: Sequence[AppConfig] | None, **kwargs: Any
) -> list[CheckMessage]:
    """LISTEN_DATABASE and LISTEN_DSN lead somewhere."""
    options, _ = read()
    found: list[CheckMessage] = []
    alias = options.listen_database
    if alias is not None and alias not in connections:
        found.append(
            Error(
                f"{SETTING}['LISTEN_DATABASE'] is {alias!r}, which is not in DATABASES.",
                hint=f"Aliases: {', '.join(connections)}.",
                id="cms_urlreload_pg.E003",
            )
        )
    elif alias is not None and connections[alias].vendor != "postgresql":
        found.append(
            Error(
                f"{SETTING}['LISTEN_DATABASE'] is {alias!r}, which is not PostgreSQL.",
                hint="Name an alias of the PostgreSQL database that holds the pages.",
                id="cms_urlreload_pg.E003",
            )
        )
    if options.listen_dsn is not None and driver.missing() is None:
        found += _check_dsn(options.listen_dsn)
    return found


def _check_dsn(dsn: str) -> list[CheckMessage]:
    from psycopg import ProgrammingError
    from psycopg.conninfo import conninfo_to_dict

    try:
        conninfo_to_dict(dsn)
    except ProgrammingError:
        # Neither the value nor libpq's message, which repeats it: there is a password in it.
        return [
            Error(
                f"{SETTING}['LISTEN_DSN'] is not a connection string of libpq.",
                hint='Write it as "postgresql://user:password@host:5432/database" or as '
                '"host=... dbname=... user=... password=...".',
                id="cms_urlreload_pg.E004",
            )
        ]
    return []


def check_triggers(
    app_configs: Sequence[AppConfig] | None, databases: Sequence[str] | None = None, **kwargs: Any
) -> list[CheckMessage]:
    """The triggers are in. Asks the database, so it runs only where databases are named
    (``check --database default``, and before ``migrate``)."""
    from . import triggers, upkeep  # not in every process

    found: list[CheckMessage] = []
    settings_read, _ = read()
    for alias in databases or ():
        connection = connections[alias]
        if not upkeep.concerns(connection):
            continue
        without = triggers.missing(connection, settings_read.channel)
        if without:
            found.append(
                checks.Warning(
                    f"In the database {alias!r}, the triggers that announce changes of apphook "
                    f"URLs are not there, or not up to date, on {', '.join(without)}. Changes "
                    "made past Django's signals are found by the heartbeat only.",
                    hint="Run 'manage.py migrate cms_urlreload_pg' as the role that owns these "
                    "tables.",
                    id="cms_urlreload_pg.W005",
                )
            )
    return found


def register_all() -> None:
    """Register the checks of this module; called by the app's ready()."""
    for check in (check_psycopg, check_vendor, check_listen_address):
        register(check)
    register(check_triggers, Tags.database)
