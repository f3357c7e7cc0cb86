"""System checks: is there a driver to listen with, a PostgreSQL to listen to, and sense in how.

docs/checks.md has each id, with what to do.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from django.apps import AppConfig, apps
from django.core import checks
from django.core.checks import CheckMessage, Error, Info, Tags, register
from django.db import connections, router

from cms_urlreload.conf import SETTING, read

from . import driver
from .refusal import is_test_run

#: Longest HEARTBEAT_TIMEOUT, in seconds, that is taken to be meant.
SENSIBLE_TIMEOUT = 60


def check_core_installed(
    app_configs: Sequence[AppConfig] | None, **kwargs: Any
) -> list[CheckMessage]:
    """The app that this one is the transport of."""
    if apps.is_installed("cms_urlreload"):
        return []
    return [
        Error(
            "cms_urlreload_pg is in INSTALLED_APPS, and cms_urlreload is not: changes by Django's "
            "ORM are not announced, and what is wrong is not told.",
            hint="Add 'cms_urlreload' to INSTALLED_APPS.",
            id="cms_urlreload_pg.E006",
        )
    ]


def check_psycopg(app_configs: Sequence[AppConfig] | None, **kwargs: Any) -> list[CheckMessage]:
    """A psycopg 3 that is new enough."""
    trouble = driver.missing()
    if trouble is None:
        return []
    return [
        checks.Warning(
            f"cms_urlreload_pg cannot listen: {trouble}. The database is polled instead.",
            hint=driver.REMEDY,
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
    if options.listen_dsn is not None and alias is not None:
        found.append(
            checks.Warning(
                f"{SETTING} has both LISTEN_DSN and LISTEN_DATABASE; {alias!r} is not used.",
                hint="Remove one of the two.",
                id="cms_urlreload_pg.W009",
            )
        )
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


def check_heartbeat_timeout(
    app_configs: Sequence[AppConfig] | None, **kwargs: Any
) -> list[CheckMessage]:
    """A connection that has gone silent is found before anybody complains."""
    options, _ = read()
    if options.heartbeat_timeout <= SENSIBLE_TIMEOUT:
        return []
    return [
        checks.Warning(
            f"{SETTING}['HEARTBEAT_TIMEOUT'] is {options.heartbeat_timeout:g} seconds: for so long "
            "a worker whose connection has gone silent serves old URLs, and does not poll.",
            hint="Leave it out (5 seconds); a server that answers later than that is overloaded.",
            id="cms_urlreload_pg.W007",
        )
    ]


def check_test_run(app_configs: Sequence[AppConfig] | None, **kwargs: Any) -> list[CheckMessage]:
    """Nothing listens to the database that a test runner wants to drop."""
    options, _ = read()
    if options.listen is not True or not is_test_run():
        return []
    return [
        checks.Warning(
            f"{SETTING}['LISTEN'] is True, and this is a test run: a listener keeps the test "
            "database from being dropped.",
            hint="Leave it out, and set it to True in those tests that need it.",
            id="cms_urlreload_pg.W008",
        )
    ]


def check_triggers(
    app_configs: Sequence[AppConfig] | None, databases: Sequence[str] | None = None, **kwargs: Any
) -> list[CheckMessage]:
    """The triggers are in. Asks the database, so it runs only where databases are named
    (``check --database default``, and before ``migrate``)."""
    from . import triggers, upkeep  # not in every process

    options, _ = read()
    found: list[CheckMessage] = []
    for alias in databases or ():
        connection = connections[alias]
        if not upkeep.concerns(connection):
            continue
        without = triggers.missing(connection, options.channel)
        if without:
            others = triggers.channels(connection) - {options.channel}
            found.append(_without_triggers(alias, without, others, options.channel))
    return found


def _without_triggers(
    alias: str, tables: Sequence[str], others: Iterable[str], channel: str
) -> CheckMessage:
    said = f" They announce on {', '.join(map(repr, sorted(others)))}, and not on {channel!r}."
    return checks.Warning(
        f"In the database {alias!r}, the triggers that announce changes of apphook URLs are not "
        f"there, or not up to date, on {', '.join(tables)}.{said if others else ''} Changes made "
        "past Django's signals are found by the heartbeat only.",
        hint="Run 'manage.py migrate cms_urlreload_pg' as the role that owns these tables.",
        id="cms_urlreload_pg.W005",
    )


def check_config_columns(
    app_configs: Sequence[AppConfig] | None, databases: Sequence[str] | None = None, **kwargs: Any
) -> list[CheckMessage]:
    """The token can be made of each column of CONFIG_MODELS. Asks the database."""
    from cms.models import PageUrl

    from .columns import without_binary_form

    alias = router.db_for_write(PageUrl)
    if alias not in (databases or ()) or connections[alias].vendor != "postgresql":
        return []
    return [
        Error(
            f"{SETTING}['CONFIG_MODELS'] names a model with the field {field!r}, whose type "
            f"{kind!r} has no binary form in PostgreSQL: the apphook URLs cannot be refreshed.",
            hint="Leave the model out, and send cms.signals.urls_need_reloading after each change.",
            id="cms_urlreload_pg.E010",
        )
        for field, kind in without_binary_form(connections[alias])
    ]


def register_all() -> None:
    """Register the checks of this module; called by the app's ready()."""
    for check in (
        check_core_installed,
        check_psycopg,
        check_vendor,
        check_listen_address,
        check_heartbeat_timeout,
        check_test_run,
    ):
        register(check)
    register(check_triggers, Tags.database)
    register(check_config_columns, Tags.database)
