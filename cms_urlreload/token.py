"""Reads the token: the identity of the routing state in a database, computed from its rows.

It is computed, never stored, so it cannot be out of date, lost, or written too early. This is
the reading for any database; a transport may know a cheaper one for its own.
"""

from __future__ import annotations

import contextlib
import hashlib
from typing import Any

from cms.models import PageUrl
from cms.models.apphooks_reload import UrlconfRevision
from django.apps import apps
from django.db import router
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


def config_tables() -> list[type[Model]]:
    """Return the models whose tables count as a whole, next to the rows that decide routing: those
    of CONFIG_MODELS, unless they are in another database than the pages."""
    pages = router.db_for_read(PageUrl)
    tables = {table: None for model in config_models() for table in tables_of(model)}
    return [table for table in tables if router.db_for_read(table) == pages]


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
    config = [
        list(table._base_manager.using(alias).order_by("pk").values_list())
        for table in config_tables()
    ]
    digest = hashlib.sha256(repr(([row[2:] for row in rows], config)).encode()).hexdigest()
    return Token(revision, digest)
