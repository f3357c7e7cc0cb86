"""The token as one statement of PostgreSQL's, which answers with 100 bytes however many rows
decide routing. The listener sends it too, on its own connection."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from cms.models.apphooks_reload import UrlconfRevision
from django.db import connections
from django.db.models import Model

from cms_urlreload.apphooks import ROUTING_COLUMNS, site_id
from cms_urlreload.token import config_tables, routing_rows


def token_sql(alias: str) -> tuple[str, tuple[Any, ...]]:
    """Return a SELECT of the columns ``revision`` and ``digest``, with its parameters.

    :param alias: the database whose quoting and schema are used; it is not connected to.
    """
    # To make it takes Django's compiler half a millisecond, which is what a server needs for it.
    return _make_token_sql(alias, site_id(), tuple(config_tables()))


@functools.lru_cache(maxsize=16)
def _make_token_sql(
    alias: str, site: int | None, tables: tuple[type[Model], ...]
) -> tuple[str, tuple[Any, ...]]:
    # The site is in the rows' condition; it is a parameter here to be remembered by.
    rows, parameters = routing_rows(alias).query.get_compiler(using=alias).as_sql()
    # A row's own text form quotes what it holds and tells NULL from "", so two different rows
    # never look alike. SHA-256 is there from PostgreSQL 11 on; md5() fails on a FIPS system.
    row = "ROW({})::text".format(", ".join(f"r.c{n}" for n in range(len(ROUTING_COLUMNS))))
    quote = connections[alias].ops.quote_name
    routing = f"string_agg({row}, chr(10) ORDER BY r.tree_order DESC, r.c1, r.row_id)"
    parts = [routing, *(_rows_of(table, quote) for table in tables)]
    text = " || chr(12) || ".join(f"coalesce({part}, '')" for part in parts)
    statement = f"""
        SELECT
            coalesce((
                SELECT revision FROM {quote(UrlconfRevision._meta.db_table)} WHERE id = 1
            ), '') AS revision,
            encode(sha256(convert_to({text}, 'UTF8')), 'hex') AS digest
        FROM ({rows}) AS r
    """  # noqa: S608  # made of quoted names; all values are parameters
    return statement, tuple(parameters)


def _rows_of(table: type[Model], quote: Callable[[str], str]) -> str:
    """Return an expression for all rows of a table, as one text."""
    columns = ", ".join(_column(field, quote) for field in table._meta.local_concrete_fields)
    key = quote(str(table._meta.pk.column))
    return (
        f"(SELECT string_agg(ROW({columns})::text, chr(10) ORDER BY m.{key}) "  # noqa: S608
        f"FROM {quote(table._meta.db_table)} AS m)"
    )


def _column(field: Any, quote: Callable[[str], str]) -> str:
    name = f"m.{quote(field.column)}"
    # The text of these depends on settings of the session, which the listener does not share.
    if field.get_internal_type() in ("DateField", "DateTimeField", "DurationField"):
        return f"extract(epoch FROM {name})"
    return name
