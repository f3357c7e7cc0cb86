"""What the measures stand on: a PostgreSQL server of their own, and databases of the demo with as
many pages as are wanted.
"""

from __future__ import annotations

import contextlib
import functools
import itertools
from collections.abc import Iterator

import psycopg
from psycopg import sql

from tests.bench.subject import Subject, environment
from tests.support.postgres import PostgresServer, drop_database, replace_dbname

#: Enough for the listeners of row 13.
MAX_CONNECTIONS = 1_100

_numbers = itertools.count()


class Ground:
    """A server, with a template of the demo's tables and no page in it."""

    def __init__(self, server: PostgresServer) -> None:
        self.server = server
        dsn = server.create_database("template_of_all")
        with self._filler(dsn) as filler:
            filler.ask("migrate")

    @contextlib.contextmanager
    def database(
        self, apphook_pages: int = 0, plain_pages: int = 0, *, triggers: bool = True
    ) -> Iterator[str]:
        """A database with pages in two languages; its address."""
        name = f"bench_{next(_numbers)}"
        statement = sql.SQL("CREATE DATABASE {} TEMPLATE template_of_all")
        with psycopg.connect(self.server.dsn(), autocommit=True) as connection:
            connection.execute(statement.format(sql.Identifier(name)))
        dsn = replace_dbname(self.server.dsn(), name)
        with self._filler(dsn) as filler:
            filler.ask("fill", apphook_pages=apphook_pages, plain_pages=plain_pages)
            if not triggers:
                filler.ask("take_out_triggers")
        try:
            yield dsn
        finally:
            drop_database(self.server.dsn(), name)

    @staticmethod
    def _filler(dsn: str) -> Subject:
        return Subject("tests.bench.filling", environment(dsn, "ours"))


@functools.cache
def ground() -> Ground:
    """Return the server of this run; it is started at the first call, and ended with the run."""
    server = PostgresServer(max_connections=MAX_CONNECTIONS)
    server.start()
    return Ground(server)
