"""Columns of CONFIG_MODELS whose type has no binary form, so that the token cannot be read: some
types of extensions have none (isn, seg, ltree before PostgreSQL 13). For a system check."""

from __future__ import annotations

from django.db.backends.base.base import BaseDatabaseWrapper

from cms_urlreload.token import columns_of, config_tables

# What arrays, domains, ranges and rows are made of counts. By way of JSON because multiranges came
# with PostgreSQL 14, and a column that is not there is an error before.
_WITHOUT_BINARY_FORM = """
    WITH RECURSIVE made_of(name, type) AS (
        SELECT a.attname, a.atttypid FROM pg_catalog.pg_attribute a
        WHERE a.attrelid = to_regclass(%s) AND a.attname = ANY (%s)
        UNION
        SELECT m.name, part.type
        FROM made_of m JOIN pg_catalog.pg_type t ON t.oid = m.type
        CROSS JOIN LATERAL (
            SELECT t.typelem UNION ALL
            SELECT t.typbasetype UNION ALL
            SELECT r.rngsubtype FROM pg_catalog.pg_range r WHERE r.rngtypid = t.oid UNION ALL
            SELECT r.rngsubtype FROM pg_catalog.pg_range r
            WHERE (to_jsonb(r) ->> 'rngmultitypid')::oid = t.oid UNION ALL
            SELECT a.atttypid FROM pg_catalog.pg_attribute a
            WHERE a.attrelid = t.typrelid AND a.attnum > 0 AND NOT a.attisdropped
        ) AS part(type)
        WHERE part.type <> 0
    )
    SELECT DISTINCT m.name, pg_catalog.format_type(t.oid, NULL)
    FROM made_of m JOIN pg_catalog.pg_type t ON t.oid = m.type
    WHERE t.typsend = 0 ORDER BY 1, 2
"""


def without_binary_form(connection: BaseDatabaseWrapper) -> list[tuple[str, str]]:
    """Return the fields, each as ``app_label.Model.field``, and the types that have none."""
    found = []
    for table in config_tables():
        quoted = connection.ops.quote_name(table._meta.db_table)
        fields = {field.column: field.name for field in table._meta.local_concrete_fields}
        with connection.cursor() as cursor:
            cursor.execute(_WITHOUT_BINARY_FORM, [quoted, columns_of(table)])
            found += [
                (f"{table._meta.label}.{fields[column]}", kind)
                for column, kind in cursor.fetchall()
            ]
    return found
