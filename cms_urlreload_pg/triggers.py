"""The commit hook inside the database: triggers that announce each change of routing, however it
was made. They see what no signal of Django's sees: SQL, ``queryset.update()``, moves in the page
tree, a restore.

One trigger for each statement and not for each row, so that a statement on ten thousand plain
pages costs one look. Not deferred, so that no migration meets "pending trigger events". The
functions name only columns that have been there in every django CMS, and find all others in a
row's JSON, so that a migration of django CMS may alter or drop them; should that ever fail, they
announce rather than raise. A notification within a transaction is sent at its COMMIT, and once
for all that are equal: https://www.postgresql.org/docs/current/sql-notify.html
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass

from cms.models import Page, PageUrl
from cms.models.apphooks_reload import UrlconfRevision
from django.db import transaction
from django.db.backends.base.base import BaseDatabaseWrapper

from cms_urlreload.apphooks import ROUTING_COLUMNS, TREE_MODEL, TREE_PATH

_PREFIX = "cms_urlreload_"
#: Event, and what a trigger of it can see.
_EVENTS = {
    "INSERT": "REFERENCING NEW TABLE AS new_rows",
    "UPDATE": "REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows",
    "DELETE": "REFERENCING OLD TABLE AS old_rows",
    "TRUNCATE": "",
}


@dataclass(frozen=True)
class Table:
    """A table whose rows decide routing.

    ``routes`` gives the condition on a row, by its alias, that an apphook hangs on what the row
    describes. ``columns`` are those of it that matter; ones that are not there count as NULL.
    """

    name: str
    routes: Callable[[str], str]
    columns: tuple[str, ...]

    @property
    def function(self) -> str:
        """The name of the function that its triggers execute."""
        return f"{_PREFIX}{self.name}"[:63]


def _tables(pages: str) -> list[Table]:
    """Return the tables; ``pages`` is the quoted name of the table of pages."""
    columns = (*ROUTING_COLUMNS, TREE_PATH)
    of_page = {name.removeprefix("page__") for name in columns if name.startswith("page__")}
    of_url = tuple(name for name in ROUTING_COLUMNS if "__" not in name)
    hooked = f"EXISTS (SELECT FROM {pages} p WHERE p.application_urls <> '' AND p."
    tables = [
        # Its place in the tree and its site: in its own row since django CMS 5.0, in that of a
        # node before. An upgrade from there keeps the function, so it looks for both.
        Table(
            Page._meta.db_table,
            lambda row: f"{row}.application_urls <> ''",
            tuple(
                sorted({*of_page, "path", "site_id", "node_id"} - {"node__path", "node__site_id"})
            ),
        ),
        Table(PageUrl._meta.db_table, lambda row: f"{hooked}id = {row}.page_id)", of_url),
        Table(UrlconfRevision._meta.db_table, lambda row: "true", ("revision",)),
    ]
    if TREE_MODEL is not Page:
        node = TREE_MODEL._meta.db_table
        tables.append(Table(node, lambda row: f"{hooked}node_id = {row}.id)", ("path", "site_id")))
    return tables


def _function_sql(schema: str, table: Table) -> str:
    """Return the statement that creates the function of a table."""
    old, new = (
        ", ".join(f"to_jsonb({rows}) -> '{column}'" for column in table.columns)
        for rows in ("o", "n")
    )
    return f"""
        CREATE OR REPLACE FUNCTION {schema}.{_quote(table.function)}() RETURNS trigger
        LANGUAGE plpgsql AS $body$
        DECLARE
            changed boolean;
        BEGIN
            BEGIN
                IF TG_OP = 'INSERT' THEN
                    changed := EXISTS (SELECT FROM new_rows n WHERE {table.routes("n")});
                ELSIF TG_OP = 'DELETE' THEN
                    changed := EXISTS (SELECT FROM old_rows o WHERE {table.routes("o")});
                ELSIF TG_OP = 'UPDATE' THEN
                    -- As a rule no apphook hangs on any of the rows; to see that, no join.
                    changed := EXISTS (SELECT FROM new_rows n WHERE {table.routes("n")})
                        OR EXISTS (SELECT FROM old_rows o WHERE {table.routes("o")});
                    IF changed THEN
                        -- CASE: the JSON of a row is made only if an apphook hangs on it.
                        changed := EXISTS (
                            SELECT FROM old_rows o JOIN new_rows n ON n.id = o.id
                            WHERE CASE WHEN {table.routes("o")} OR {table.routes("n")}
                                THEN ROW({old}) IS DISTINCT FROM ROW({new}) ELSE false END
                        );
                    END IF;
                ELSE
                    changed := true;
                END IF;
            EXCEPTION WHEN OTHERS THEN
                -- A column that went, a table that this role may not read: it cannot be told
                -- whether anything changed, and nobody's write may fail for that.
                changed := true;
            END;
            IF changed THEN
                BEGIN
                    PERFORM pg_catalog.pg_notify(TG_ARGV[0], 'trigger');
                EXCEPTION WHEN insufficient_privilege THEN
                    -- EXECUTE was revoked from this role, whose write goes on all the same.
                    -- 'manage.py urlreload doctor' tells; until then the heartbeat finds it.
                    NULL;
                END;
            END IF;
            RETURN NULL;
        END
        $body$
    """  # noqa: S608  # made of quoted names and of constants


def _quote(name: str) -> str:
    return '"{}"'.format(name.replace('"', '""'))


def _literal(text: str) -> str:
    # E'' and doubled backslashes: right with standard_conforming_strings on and off.
    return " E'{}'".format(text.replace("\\", "\\\\").replace("'", "''"))


def _fingerprint(table: Table) -> str:
    """Tell this version's triggers from those of another: the second argument of each."""
    return hashlib.sha256(_function_sql("", table).encode()).hexdigest()[:12]


def _schema_of(connection: BaseDatabaseWrapper, table: str) -> str | None:
    """Return the schema in which a table is found, as Django finds it: by search_path."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT n.nspname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace "
            "WHERE c.oid = to_regclass(%s)",
            [connection.ops.quote_name(table)],
        )
        row = cursor.fetchone()
    return None if row is None else row[0]


def _found_tables(connection: BaseDatabaseWrapper) -> list[tuple[str, Table]]:
    """Return each table that is there, with the schema that it is in."""
    page_schema = _schema_of(connection, Page._meta.db_table)
    if page_schema is None:
        return []
    pages = f"{_quote(page_schema)}.{_quote(Page._meta.db_table)}"
    found = [(_schema_of(connection, table.name), table) for table in _tables(pages)]
    return [(schema, table) for schema, table in found if schema is not None]


def install(connection: BaseDatabaseWrapper, channel: str) -> None:
    """Put the triggers in, in place of any of ours that are there.

    :raises django.db.ProgrammingError: if this role may not (SQLSTATE 42501): it must own the
        tables, and be allowed to create functions in their schema.
    """
    with transaction.atomic(using=connection.alias), connection.cursor() as cursor:
        for schema, table in _found_tables(connection):
            where = f"{_quote(schema)}.{_quote(table.name)}"
            function = f"{_quote(schema)}.{_quote(table.function)}"
            arguments = f"{_literal(channel)}, {_literal(_fingerprint(table))}"
            cursor.execute(_function_sql(_quote(schema), table))
            for event, rows in _EVENTS.items():
                name = f"{_PREFIX}{event.lower()}"
                cursor.execute(f"DROP TRIGGER IF EXISTS {name} ON {where}")
                cursor.execute(
                    f"CREATE TRIGGER {name} AFTER {event} ON {where} {rows} "
                    f"FOR EACH STATEMENT EXECUTE FUNCTION {function}({arguments})"
                )


def uninstall(connection: BaseDatabaseWrapper) -> None:
    """Take out all functions of ours, and with them the triggers; none that are there is right
    too. By their names, so that one whose table went with a migration of django CMS goes as well.
    """
    schema = _schema_of(connection, Page._meta.db_table)
    with transaction.atomic(using=connection.alias), connection.cursor() as cursor:
        cursor.execute(
            "SELECT p.oid::regprocedure::text FROM pg_proc p JOIN pg_namespace n "
            "ON n.oid = p.pronamespace WHERE n.nspname = %s AND starts_with(p.proname, %s) "
            "AND p.prorettype = 'trigger'::regtype",
            [schema, _PREFIX],
        )
        for (function,) in cursor.fetchall():
            cursor.execute(f"DROP FUNCTION {function} CASCADE")


def missing(connection: BaseDatabaseWrapper, channel: str) -> list[str]:
    """Return the tables on which a trigger of ours is not there, is switched off, is of another
    version, or announces on another channel."""
    expected: set[tuple[str, str, str]] = set()
    tables = [table for _, table in _found_tables(connection)]
    for table in tables:
        arguments = f"{channel}\0{_fingerprint(table)}\0"
        expected |= {(table.name, f"{_PREFIX}{event.lower()}", arguments) for event in _EVENTS}
    return sorted({name for name, _, _ in expected - _found_triggers(connection, tables)})


def channels(connection: BaseDatabaseWrapper) -> set[str]:
    """Return the channels that the triggers that are there announce on; one, as a rule."""
    tables = [table for _, table in _found_tables(connection)]
    return {args.partition("\0")[0] for _, _, args in _found_triggers(connection, tables)}


def _found_triggers(
    connection: BaseDatabaseWrapper, tables: list[Table]
) -> set[tuple[str, str, str]]:
    """Return table, name and arguments of each trigger of ours that is switched on."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT c.relname, t.tgname, t.tgargs FROM pg_trigger t JOIN pg_class c "
            "ON c.oid = t.tgrelid WHERE c.oid = ANY (SELECT to_regclass(name) "
            "FROM unnest(%s::text[]) AS name) AND t.tgname LIKE %s AND t.tgenabled <> 'D'",
            [[connection.ops.quote_name(table.name) for table in tables], f"{_PREFIX}%"],
        )
        return {(name, trigger, bytes(args).decode()) for name, trigger, args in cursor.fetchall()}
