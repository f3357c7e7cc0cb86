"""Reads the token: the identity of the routing state in a database, computed from its rows.

It is computed, never stored, so it cannot be out of date, lost, or written too early. This is
the reading for any database; a transport may know a cheaper one for its own.
"""

from __future__ import annotations

import hashlib
from typing import Any

from cms.models.apphooks_reload import UrlconfRevision
from django.db.models import F, QuerySet, Value

from .apphooks import ROUTING_COLUMNS, ROUTING_NUMBERS, ROUTING_TEXTS, TREE_PATH, routed_urls
from .state import Token


def routing_rows(alias: str) -> QuerySet[Any, Any]:
    """Return what decides routing, a row for each URL, in no order, unevaluated.

    The columns are ``tree_order`` and ``id``, which only order the rows, and ``c0``, ``c1`` and so
    on, one for each of ROUTING_COLUMNS. The place in the tree is not among these: a plain page
    that moves between two others shifts it, and routes nothing.
    """
    columns = {f"c{number}": F(lookup) for number, lookup in enumerate(ROUTING_COLUMNS)}
    rows: QuerySet[Any, Any] = routed_urls(alias).annotate(tree_order=F(TREE_PATH), **columns)
    return rows.values_list("tree_order", "id", *columns)


def read_token(alias: str) -> Token:
    """Read the token in one query.

    :param alias: the database to read; it must be the one that a build would read.
    :raises django.db.Error: if the database cannot answer.
    """
    # The revision comes as one more row, told apart by an id that no row has.
    blanks = [Value("") for _ in ROUTING_TEXTS] + [Value(0) for _ in ROUTING_NUMBERS]
    revision_row = (
        UrlconfRevision.objects.using(alias).filter(pk=1).values_list("revision", Value(0), *blanks)
    )
    revision, rows = "", []
    for row in revision_row.union(routing_rows(alias), all=True):
        if row[1] == 0:
            revision = row[0]
        else:
            rows.append(row)
    # As the resolvers are ordered: the tree backwards, then the languages (c1), then the ids.
    rows.sort(key=lambda row: (row[3], row[1]))
    rows.sort(key=lambda row: row[0], reverse=True)
    digest = hashlib.sha256(repr([row[2:] for row in rows]).encode()).hexdigest()
    return Token(revision, digest)
