"""Where the listener connects to, and where its probe does: parameters of psycopg.connect()."""

from __future__ import annotations

import socket
from os import getpid
from typing import Any

from django.core.exceptions import ImproperlyConfigured
from django.db import connections
from psycopg import ProgrammingError, pq
from psycopg.conninfo import conninfo_to_dict

from cms_urlreload.conf import SETTING, Settings

# What Django gives to psycopg for its own cursors; it would only be in the way.
_FOR_DJANGO = ("autocommit", "context", "cursor_factory", "prepare_threshold", "row_factory")

# A standby hears and says nothing. Of several hosts this finds the primary, and where there is
# none it says so. libpq 13 and older do not know the word, and would also refuse a role whose
# transactions are read-only by default.
_PRIMARY = "primary" if pq.version() >= 140000 else "read-write"

# A name that PostgreSQL cuts at NAMEDATALEN - 1 bytes, as it does any.
_MAX_APPLICATION_NAME = 63


def listener_parameters(settings: Settings, pages_alias: str) -> dict[str, Any]:
    """Return the parameters of the listener's connection.

    ``LISTEN_DSN``, else the alias ``LISTEN_DATABASE``, else the alias that pages are written to.
    Called for each attempt to connect, so that a password that changes is read again.

    :raises ImproperlyConfigured: if LISTEN_DSN is no connection string.
    :raises django.utils.connection.ConnectionDoesNotExist: if there is no such alias.
    """
    if settings.listen_dsn is None:
        return alias_parameters(settings, settings.listen_database or pages_alias)
    try:
        parameters = conninfo_to_dict(settings.listen_dsn)
    except ProgrammingError:
        # Not libpq's own words: they repeat the value, and there may be a password in it.
        raise ImproperlyConfigured(
            f"{SETTING}['LISTEN_DSN'] is not a connection string of libpq."
        ) from None
    # As Django has it, whatever the database's own encoding is.
    return _complete({**parameters, "client_encoding": "UTF8"}, settings)


def alias_parameters(settings: Settings, alias: str) -> dict[str, Any]:
    """Return the parameters of a connection to one of DATABASES, as Django would open it."""
    parameters = connections[alias].get_connection_params()
    for name in _FOR_DJANGO:
        parameters.pop(name, None)
    return _complete(parameters, settings)


def _complete(parameters: dict[str, Any], settings: Settings) -> dict[str, Any]:
    # libpq takes whole seconds. A connection that nobody answers would else block for minutes.
    parameters.setdefault("connect_timeout", max(2, round(settings.connect_timeout)))
    # Finds a peer that is gone without a word even while nothing is to be sent.
    parameters.setdefault("keepalives_idle", 30)
    parameters.setdefault("target_session_attrs", _PRIMARY)
    return parameters


def role(settings: Settings, pages_alias: str) -> str | None:
    """Return the role to assume after connecting (Django's option ``assume_role``), if any."""
    if settings.listen_dsn is not None:
        return None
    wrapper = connections[settings.listen_database or pages_alias]
    assumed = wrapper.settings_dict["OPTIONS"].get("assume_role")
    return None if assumed is None else str(assumed)


def application_name(what: str) -> str:
    """Return what pg_stat_activity shows of a connection: whose it is, and its pid and host.

    Of a long host's name the middle is left out: with some providers the beginning tells them
    apart, with others the end.
    """
    start = f"{what} {getpid()}@"
    host = socket.gethostname()
    room = _MAX_APPLICATION_NAME - len(start)
    if len(host) > room:
        half = room // 2
        host = f"{host[: room - half - 1]}~{host[-half:]}"
    return start + host
