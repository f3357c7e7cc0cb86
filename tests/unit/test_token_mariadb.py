"""The token of a table with columns of any type, on MariaDB."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import pytest
from django.db import connections

from cms_urlreload import token
from tests.demo.settings import database_from_url
from tests.support import mariadb
from tests.support.mariadb import MariaDBServer

from .test_token_values import AnyField, execute, make_model, table


@pytest.mark.mariadb
@pytest.mark.skipif(bool(mariadb.missing()), reason=mariadb.missing())
def test_token__changes_with_any_value(django_db_blocker: Any) -> None:
    kinds = {
        "bigint": ("-5", "-6"),
        "decimal(20,5)": ("1.5", "1.50001"),
        "double": ("0.1e0 + 0.2e0", "0.3e0"),
        "datetime(6)": ("'2024-01-01 10:00:00.123456'", "'2024-01-01 10:00:00.123457'"),
        "time(6)": ("'-10:00:00.5'", "'10:00:00.5'"),
        "json": ("'{\"a\": 1}'", "'{\"a\": 2}'"),
        "longblob": ("x'00ff80'", "x'00ff81'"),
        "bit(10)": ("b'1010'", "b'1011'"),
        "enum('a','é')": ("'a'", "'é'"),
        "set('x','y')": ("'x,y'", "'x'"),
        "point": ("ST_GeomFromText('POINT(1 2)')", "ST_GeomFromText('POINT(1 3)')"),
        "varchar(20)": ("'ü'", "'u'"),
    }
    model = make_model(
        "Maria", **{f"c{n}": AnyField(kind, null=True) for n, kind in enumerate(kinds)}
    )
    with django_db_blocker.unblock(), MariaDBServer() as server, maria(server):
        tokens = []
        with table(model, "maria"):
            execute("INSERT INTO news_maria (id) VALUES (1)", alias="maria")
            for number, values in enumerate(kinds.values()):
                for value in values:
                    execute(f"UPDATE news_maria SET c{number} = {value}", alias="maria")
                    tokens.append(token._config_rows("maria", model))
                    assert token._config_rows("maria", model) == tokens[-1]
    assert len({str(one) for one in tokens}) == len(tokens)


@contextlib.contextmanager
def maria(server: MariaDBServer) -> Iterator[None]:
    settings = database_from_url(server.create_database("values"))
    connections.settings["maria"] = {**connections.settings["lite"], **settings}
    try:
        yield
    finally:
        connections["maria"].close()
        del connections["maria"], connections.settings["maria"]
