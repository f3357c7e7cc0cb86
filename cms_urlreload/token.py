"""Reads the token: the identity of the routing state in a database, computed from its rows.

It is computed, never stored, so it cannot be out of date, lost, or written too early. This is
the reading for any database; a transport may know a cheaper one for its own.
"""

from __future__ import annotations

import contextlib
import datetime
import decimal
import hashlib
import uuid
from typing import Any

from cms.models import PageUrl
from cms.models.apphooks_reload import UrlconfRevision
from django.apps import apps
from django.db import connections, router
from django.db.models import F, Model, QuerySet, Value

from .apphooks import ROUTING_COLUMNS, ROUTING_NUMBERS, ROUTING_TEXTS, TREE_PATH, routed_urls
from .conf import read
from .state import Token


def config_models() -> list[type[Model]]:
    """Return the models of CONFIG_MODELS. A name that is wrong is passed over: a system check
    tells of it, and it must not stop everything else."""
    settings, _ = read()
    found = []
    for name in settings.config_models:
        with contextlib.suppress(LookupError):
            found.append(apps.get_model(name))
    return found


def tables_of(model: type[Model]) -> list[type[Model]]:
    """Return the models whose tables hold a model's rows: its own, those of its parents, and those
    of its many-to-many relations."""
    through: list[Any] = [field.remote_field.through for field in model._meta.many_to_many]
    concrete = model._meta.concrete_model or model
    return [concrete, *concrete._meta.get_parent_list(), *through]


def columns_of(table: type[Model]) -> list[str]:
    """Return the names of a table's own columns. A CompositePrimaryKey is a field, and has none."""
    return [field.column for field in table._meta.local_concrete_fields if field.column]


def is_beside_the_pages(table: type[Model]) -> bool:
    """Whether a table is in the database that pages are written to.

    Not the one that they are read from: a router may pick another replica at each call.
    """
    return router.db_for_write(table) == router.db_for_write(PageUrl)


def config_tables() -> list[type[Model]]:
    """Return the models whose tables count as a whole, next to the rows that decide routing: those
    of CONFIG_MODELS, unless they are in another database than the pages."""
    tables = {table: None for model in config_models() for table in tables_of(model)}
    return [table for table in tables if is_beside_the_pages(table)]


def routing_rows(alias: str) -> QuerySet[Any, Any]:
    """Return what decides routing, a row for each URL, in no order, unevaluated.

    The columns are ``tree_order`` and ``row_id``, which only order the rows, and ``c0``, ``c1``
    and so on, one for each of ROUTING_COLUMNS. The place in the tree is not among these: a plain
    page that moves between two others shifts it, and routes nothing.
    """
    return _select(routed_urls(alias), F(TREE_PATH), F("pk"), *map(F, ROUTING_COLUMNS))


def _select(rows: QuerySet[Any, Any], *expressions: Any) -> QuerySet[Any, Any]:
    # Each column is an annotation, also the id: before 5.2, Django selects a model's own fields
    # in front of all annotations, whatever the order in values_list(), and in a union it asks
    # every model for them.
    names = ("tree_order", "row_id", *(f"c{number}" for number in range(len(ROUTING_COLUMNS))))
    columns: QuerySet[Any, Any] = rows.annotate(**dict(zip(names, expressions, strict=True)))
    return columns.values_list(*names)


def read_token(alias: str) -> Token:
    """Read the token: in one query, and one more for each table of CONFIG_MODELS.

    :param alias: the database to read; it must be the one that a build would read.
    :raises django.db.Error: if the database cannot answer.
    """
    # The revision comes as one more row, told apart by an id that no row has.
    blanks = [Value("") for _ in ROUTING_TEXTS] + [Value(0) for _ in ROUTING_NUMBERS]
    revisions = UrlconfRevision.objects.using(alias).filter(pk=1)
    revision_row = _select(revisions, F("revision"), Value(0), *blanks)
    revision, rows = "", []
    for row in revision_row.union(routing_rows(alias), all=True):
        if row[1] == 0:
            revision = row[0]
        else:
            rows.append(row)
    # As the resolvers are ordered: the tree backwards, then the languages (c1), then the ids.
    rows.sort(key=lambda row: (row[3], row[1]))
    rows.sort(key=lambda row: row[0], reverse=True)
    config = [_config_rows(alias, table) for table in config_tables()]
    digest = hashlib.sha256(repr(([row[2:] for row in rows], config)).encode()).hexdigest()
    return Token(revision, digest)


#: What a database is asked for instead of the value of a column: an exact form of it, whatever its
#: type is. Drivers make objects of values, and anybody may register others with them, whose repr
#: may be another at each look.
_EXACT_FORMS = {
    # quote() ends a text at its first NUL, and hex() rounds a number.
    "sqlite": "CASE typeof({0}) WHEN 'text' THEN 'text ' || hex({0}) ELSE quote({0}) END",
    "mysql": "CAST({0} AS BINARY)",
    "postgresql": "CAST({0} AS text)",
}
#: Classes whose repr is their value.
_EXACT_CLASSES = (
    type(None),
    bool,
    int,
    float,
    str,
    bytes,
    decimal.Decimal,
    datetime.date,
    datetime.datetime,
    datetime.time,
    datetime.timedelta,
    uuid.UUID,
)


def _config_rows(alias: str, table: type[Model]) -> list[str]:
    """Read all rows of a table, each as one text, in an order that needs no primary key."""
    connection = connections[alias]
    form = _EXACT_FORMS.get(connection.vendor, "{0}")
    quote = connection.ops.quote_name
    # Past Django's fields too: what from_db_value() returns has any class.
    columns = (form.format(quote(name)) for name in columns_of(table))
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT {', '.join(columns)} FROM {quote(table._meta.db_table)}")  # noqa: S608
        return sorted(repr([_exact(value, table) for value in row]) for row in cursor.fetchall())


def _exact(value: Any, table: type[Model]) -> Any:
    if isinstance(value, (memoryview, bytearray)):
        return bytes(value)
    if type(value) not in _EXACT_CLASSES:
        raise TypeError(
            f"The database of {table._meta.label!r} answers with a {type(value).__name__}, of "
            "which no digest can be made. Take the model out of CONFIG_MODELS."
        )
    return value
