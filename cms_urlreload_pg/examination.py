"""Does once what the listener does, and says what it found: for ``manage.py urlreload doctor``."""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import Any

import psycopg
from django.core.exceptions import ImproperlyConfigured
from django.db import connections
from django.utils.connection import ConnectionDoesNotExist
from psycopg import sql

from cms_urlreload.conf import SETTING, Settings
from cms_urlreload.fleet import Finding

from .address import alias_parameters, listener_parameters, role
from .probe import probe_channel
from .refusal import refusal
from .session import listen_statement
from .token_sql import schema_sql, token_sql

_NAME = "cms-urlreload-doctor"


def examine(settings: Settings, pages_alias: str) -> Iterable[Finding]:
    """Look at the listener's address, its role and its hearing."""
    refused = refusal(settings)
    if refused is not None:
        yield Finding("listener", False, f"Not started: {refused.reason}", refused.remedy)
    try:
        parameters = listener_parameters(settings, pages_alias)
        began = time.perf_counter()
        connection = psycopg.connect(**{**parameters, "application_name": _NAME}, autocommit=True)
    except (psycopg.Error, ImproperlyConfigured, ConnectionDoesNotExist) as error:
        yield Finding("address", False, f"No connection: {_line(error)}", _correct(settings))
        return
    with connection:
        yield Finding("address", True, _address(connection, time.perf_counter() - began))
        yield _room(connection)
        yield _token(connection, settings, pages_alias)
        yield _hearing(connection, settings, pages_alias)


def _address(connection: psycopg.Connection, seconds: float) -> str:
    info = connection.info
    version = f"{info.server_version // 10000}.{info.server_version % 10000}"
    return (
        f"{info.host}:{info.port}, database {info.dbname!r}, role {info.user!r}, PostgreSQL "
        f"{version}, psycopg {psycopg.__version__}; connected in {seconds * 1000:.0f} ms."
    )


def _room(connection: psycopg.Connection) -> Finding:
    used, most = _row(
        connection,
        # Not pg_stat_activity, which shows not everybody what a session is.
        "SELECT sum(numbackends)::int, current_setting('max_connections')::int "
        "FROM pg_stat_database",
    )
    return Finding(
        "connections",
        used < 0.9 * most,
        f"{used} of {most} in use; each worker needs one, beside those of its requests.",
        "" if used < 0.9 * most else "Raise max_connections, or run fewer processes.",
    )


def _token(connection: psycopg.Connection, settings: Settings, pages_alias: str) -> Finding:
    assumed = role(settings, pages_alias)
    statement, parameters = token_sql(pages_alias)
    began = time.perf_counter()
    try:
        if assumed is not None:
            connection.execute(sql.SQL("SET ROLE {}").format(sql.Identifier(assumed)))
        psycopg.ClientCursor(connection).execute(statement, parameters)
        [schema] = _row(connection, f"SELECT {schema_sql(pages_alias)}")
    except psycopg.Error as error:
        elsewhere = isinstance(error, psycopg.errors.UndefinedTable)
        return Finding(
            "heartbeat",
            False,
            f"The listener's role cannot read what decides routing: {_line(error)}",
            f"{_who(settings)} must lead to the database that has these tables, by the same "
            "search_path; and 'manage.py migrate' makes them."
            if elsewhere
            else "GRANT it SELECT on the tables of django CMS and of CONFIG_MODELS.",
        )
    seconds = time.perf_counter() - began
    return _elsewhere(schema, settings, pages_alias) or Finding(
        "heartbeat", True, f"The token was read in {seconds * 1000:.1f} ms."
    )


def _elsewhere(schema: str, settings: Settings, pages_alias: str) -> Finding | None:
    """Compare the schema in which the listener finds the pages with that of the site."""
    with connections[pages_alias].cursor() as cursor:
        cursor.execute(f"SELECT {schema_sql(pages_alias)}")
        [of_site] = cursor.fetchone()
    if schema == of_site:
        return None
    return Finding(
        "heartbeat",
        False,
        f"The listener finds the pages in the schema {schema!r}, and the site in {of_site!r}.",
        f"{_who(settings)}, the role and the search_path of the listener must lead to the tables "
        "of the site. If the search_path is set for each request, use django CMS's own "
        "cms.middleware.utils.ApphookReloadMiddleware instead of this package.",
    )


def _hearing(connection: psycopg.Connection, settings: Settings, pages_alias: str) -> Finding:
    """Have another connection, opened as the site opens its own, notify this one."""
    channel = probe_channel()
    connection.execute(listen_statement(channel))
    parameters = {**alias_parameters(settings, pages_alias), "application_name": _NAME}
    try:
        with psycopg.connect(**parameters, autocommit=True) as other:
            began = time.perf_counter()
            other.execute("SELECT pg_notify(%s, '')", [channel])
            heard = list(connection.notifies(timeout=settings.heartbeat_timeout, stop_after=1))
            seconds = time.perf_counter() - began
    except psycopg.errors.InsufficientPrivilege as error:
        return Finding(
            "probe",
            False,
            f"The site's role may not notify: {_line(error)}",
            "GRANT it EXECUTE ON FUNCTION pg_notify(text, text).",
        )
    except psycopg.Error as error:
        return Finding(
            "probe",
            False,
            f"The site's own connection, which is to notify, failed: {_line(error)}",
            f"Correct DATABASES[{pages_alias!r}], or see that the server has room for it.",
        )
    connection.execute("UNLISTEN *")
    if not heard:
        return Finding(
            "probe",
            False,
            "What another connection notified has not arrived on the listener's within "
            f"{settings.heartbeat_timeout:g} seconds.",
            f"Is a pooler in transaction mode between, or is {_who(settings)} of another "
            f"database? {SETTING}['LISTEN_DSN'] must lead to PostgreSQL itself, and to the "
            "database that pages are written to.",
        )
    return Finding("probe", True, f"A notification arrived after {seconds * 1000:.1f} ms.")


def _who(settings: Settings) -> str:
    """Return what the address comes from."""
    if settings.listen_dsn is not None:
        return f"{SETTING}['LISTEN_DSN']"
    if settings.listen_database is not None:
        return f"DATABASES[{settings.listen_database!r}]"
    return "DATABASES"


def _correct(settings: Settings) -> str:
    return (
        f"Correct {_who(settings)}: it must lead to the PostgreSQL server that pages are written "
        "to (a standby is none), with a role that may connect to their database."
    )


def _row(connection: psycopg.Connection, statement: str) -> Any:
    return connection.execute(statement).fetchone()


def _line(error: BaseException) -> str:
    return " ".join(str(error).split())
