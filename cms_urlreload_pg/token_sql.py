"""The token as one statement of PostgreSQL's, which answers with 100 bytes however many rows
decide routing. The listener sends it too, on its own connection.

The answer depends on the rows alone, and on no setting of a session, a role or a server: routing
columns are texts and integers, and other values count in the binary form of their type (see
docs/decisions/fingerprint.md).
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from cms.models import PageUrl
from cms.models.apphooks_reload import UrlconfRevision
from django.db import connections
from django.db.models import Model

from cms_urlreload.apphooks import ROUTING_COLUMNS, site_id
from cms_urlreload.token import columns_of, config_tables, routing_rows


def token_sql(alias: str) -> tuple[str, tuple[Any, ...]]:
    """Return a SELECT of the columns ``revision`` and ``digest``, with its parameters.

    :param alias: the database whose quoting and schema are used; it is not connected to.
    """
    # To make it takes Django's compiler half a millisecond, which is what a server needs for it.
    return _make_token_sql(alias, site_id(), tuple(config_tables()))


def schema_sql(alias: str) -> str:
    """Return an expression for the name of the schema in which a session finds the pages' URLs:
    what its ``search_path`` leads to."""
    table = connections[alias].ops.quote_name(PageUrl._meta.db_table).replace("'", "''")
    return (
        "(SELECT n.nspname FROM pg_catalog.pg_class AS c "  # noqa: S608
        "JOIN pg_catalog.pg_namespace AS n ON n.oid OPERATOR(pg_catalog.=) c.relnamespace "
        f"WHERE c.oid OPERATOR(pg_catalog.=) '{table}'::pg_catalog.regclass)"
    )


# Whatever the search_path has in front of pg_catalog.
_CONCATENATED = " OPERATOR(pg_catalog.||) "


@functools.lru_cache(maxsize=16)
def _make_token_sql(
    alias: str, site: int | None, tables: tuple[type[Model], ...]
) -> tuple[str, tuple[Any, ...]]:
    # The site is in the rows' condition; it is a parameter here to be remembered by.
    rows, parameters = routing_rows(alias).query.get_compiler(using=alias).as_sql()

    def quote(name: str) -> str:
        # A statement with parameters has its percent signs doubled.
        return str(connections[alias].ops.quote_name(name).replace("%", "%%"))

    # A row's own text form quotes what it holds and tells NULL from "", so two different rows
    # never look alike. Languages are ordered by their bytes, which is the same on any server.
    columns = ", ".join(f"r.c{number}" for number in range(len(ROUTING_COLUMNS)))
    row = f"ROW({columns})::pg_catalog.text"
    order = 'r.tree_order DESC, r.c1 COLLATE pg_catalog."C", r.row_id'
    routing = f"pg_catalog.string_agg({row}, pg_catalog.chr(10) ORDER BY {order})"
    content = f"pg_catalog.convert_to(coalesce({routing}, ''), 'UTF8')"
    if tables:
        digests = _CONCATENATED.join(_digest_of(table, quote) for table in tables)
        # Texts in binary form come in the client's encoding. CASE keeps the order: the subqueries
        # run when their value is needed. The setting ends with the transaction.
        utf8 = "pg_catalog.set_config('client_encoding', 'UTF8', true) IS NOT NULL"
        content += f"{_CONCATENATED}CASE WHEN {utf8} THEN {digests} END"
    # SHA-256 is there from PostgreSQL 11 on; md5() fails on a FIPS system.
    statement = f"""
        SELECT
            coalesce((
                SELECT revision FROM {quote(UrlconfRevision._meta.db_table)} WHERE id = 1
            ), '') AS revision,
            pg_catalog.encode(pg_catalog.sha256({content}), 'hex') AS digest
        FROM ({rows}) AS r
    """  # noqa: S608  # made of quoted names; all values are parameters
    return statement, tuple(parameters)


def _digest_of(table: type[Model], quote: Callable[[str], str]) -> str:
    """Return an expression for all rows of a table, as 32 bytes."""
    columns = ", ".join(f"m.{quote(name)}" for name in columns_of(table))
    # In the order of the rows' own digests: that needs no primary key, and no collation. OFFSET 0
    # keeps the planner from computing each digest twice.
    digests = "pg_catalog.string_agg(d, ''::pg_catalog.bytea ORDER BY d)"
    return (
        f"(SELECT pg_catalog.sha256(coalesce({digests}, ''))"  # noqa: S608
        f" FROM (SELECT pg_catalog.sha256(pg_catalog.record_send(ROW({columns}))) AS d"
        f" FROM {quote(table._meta.db_table)} AS m OFFSET 0) AS rows)"
    )
