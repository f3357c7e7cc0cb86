"""Where the listener connects to: from the settings, as parameters of psycopg.connect()."""

from __future__ import annotations

from typing import Any

from django.db import connections
from psycopg.conninfo import conninfo_to_dict

from cms_urlreload.conf import Settings

# What Django gives to psycopg for its own cursors; it would only be in the way.
_FOR_DJANGO = ("autocommit", "context", "cursor_factory", "prepare_threshold", "row_factory")


def connection_parameters(settings: Settings, pages_alias: str) -> dict[str, Any]:
    """Return the parameters of the listener's connection.

    ``LISTEN_DSN``, else the alias ``LISTEN_DATABASE``, else the alias that pages are written to.
    Called for each attempt to connect, so that a password that changes is read again.

    :raises psycopg.ProgrammingError: if LISTEN_DSN is no connection string.
    :raises django.utils.connection.ConnectionDoesNotExist: if there is no such alias.
    """
    if settings.listen_dsn is not None:
        # As Django has it, whatever the database's own encoding is.
        parameters: dict[str, Any] = {
            **conninfo_to_dict(settings.listen_dsn),
            "client_encoding": "UTF8",
        }
    else:
        wrapper = connections[settings.listen_database or pages_alias]
        parameters = wrapper.get_connection_params()
        for name in _FOR_DJANGO:
            parameters.pop(name, None)
    # libpq takes whole seconds. A connection that nobody answers would else block for minutes.
    parameters.setdefault("connect_timeout", max(2, round(settings.connect_timeout)))
    # Finds a peer that is gone without a word even while nothing is to be sent.
    parameters.setdefault("keepalives_idle", 30)
    return parameters


def role(settings: Settings, pages_alias: str) -> str | None:
    """Return the role to assume after connecting (Django's option ``assume_role``), if any."""
    if settings.listen_dsn is not None:
        return None
    wrapper = connections[settings.listen_database or pages_alias]
    assumed = wrapper.settings_dict["OPTIONS"].get("assume_role")
    return None if assumed is None else str(assumed)
