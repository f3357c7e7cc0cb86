"""Keeps the triggers of a database as this version and its settings want them: whenever
``migrate`` runs, not only when the migration does."""

from __future__ import annotations

import logging
from importlib.util import find_spec
from typing import Any

from cms.models import PageUrl
from django.apps import AppConfig
from django.db import ProgrammingError, connections, router
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.migrations.loader import MigrationLoader
from django.db.migrations.recorder import MigrationRecorder

from cms_urlreload.conf import get_settings

from . import triggers

logger = logging.getLogger(__name__)

_INSUFFICIENT_PRIVILEGE = "42501"
_MIGRATION = "0001_triggers"


def concerns(connection: BaseDatabaseWrapper) -> bool:
    """Whether this is a PostgreSQL database that holds pages."""
    return connection.vendor == "postgresql" and router.allow_migrate_model(
        connection.alias, PageUrl
    )


def put_in(connection: BaseDatabaseWrapper) -> None:
    """Put the triggers in; if this role may not, say what to do and go on without."""
    if not concerns(connection):
        return
    try:
        triggers.install(connection, get_settings().channel)
    except ProgrammingError as error:
        if _sqlstate(error.__cause__) != _INSUFFICIENT_PRIVILEGE:
            raise
        logger.warning(
            "The triggers that announce changes of apphook URLs could not be put into the "
            "database %r (%s). Changes made with Django's ORM are announced all the same; others "
            "are found by the heartbeat. To have the triggers, run 'manage.py migrate "
            "cms_urlreload_pg' as the role that owns the tables of django CMS.",
            connection.alias,
            str(error).strip(),
        )


def _sqlstate(error: BaseException | None) -> str | None:
    """Return the SQLSTATE as psycopg 3 has it, or psycopg2."""
    return getattr(error, "sqlstate", None) or getattr(error, "pgcode", None)


def take_out(connection: BaseDatabaseWrapper) -> None:
    """Take the triggers out."""
    if concerns(connection):
        triggers.uninstall(connection)


def on_post_migrate(sender: AppConfig, using: str, **kwargs: Any) -> None:
    """Bring the triggers up to date: after an upgrade of this package or of django CMS, after a
    change of the channel, when the role that ran the migration could not put them in, or when the
    tables came after it, or without it."""
    connection = connections[using]
    if not concerns(connection) or _is_unapplied(connection, sender.label):
        return
    if triggers.missing(connection, get_settings().channel):
        put_in(connection)


def _is_unapplied(connection: BaseDatabaseWrapper, app_label: str) -> bool:
    """Whether the migration is still to come, or was taken back on purpose. Not so where the site
    does not have it (MIGRATION_MODULES), as nothing would ever apply it."""
    package, _ = MigrationLoader.migrations_module(app_label)
    if package is None or find_spec(f"{package}.{_MIGRATION}") is None:
        return False
    return (app_label, _MIGRATION) not in MigrationRecorder(connection).applied_migrations()
