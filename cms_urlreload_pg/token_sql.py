"""The token as one statement of PostgreSQL's, which answers with 100 bytes however many rows
decide routing. The listener sends it too, on its own connection."""

from __future__ import annotations

from typing import Any

from cms.models.apphooks_reload import UrlconfRevision
from django.db import connections

from cms_urlreload.apphooks import ROUTING_COLUMNS
from cms_urlreload.token import routing_rows


def token_sql(alias: str) -> tuple[str, tuple[Any, ...]]:
    """Return a SELECT of the columns ``revision`` and ``digest``, with its parameters.

    :param alias: the database whose quoting and schema are used; it is not connected to.
    """
    rows, parameters = routing_rows(alias).query.get_compiler(using=alias).as_sql()
    # A row's own text form quotes what it holds and tells NULL from "", so two different rows
    # never look alike. SHA-256 is there from PostgreSQL 11 on; md5() fails on a FIPS system.
    row = "ROW({})::text".format(", ".join(f"r.c{n}" for n in range(len(ROUTING_COLUMNS))))
    revisions = connections[alias].ops.quote_name(UrlconfRevision._meta.db_table)
    statement = f"""
        SELECT coalesce((SELECT revision FROM {revisions} WHERE id = 1), '') AS revision,
            encode(sha256(convert_to(coalesce(
                string_agg({row}, chr(10) ORDER BY r.tree_order DESC, r.c1, r.id), ''
            ), 'UTF8')), 'hex') AS digest
        FROM ({rows}) AS r
    """  # noqa: S608  # made of quoted names; all values are parameters
    return statement, tuple(parameters)
