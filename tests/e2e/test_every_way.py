"""Every way in which apphook URLs change, on every kind of database: each worker follows, pushed
by PostgreSQL and by poll elsewhere; and what changes no routing rebuilds nothing.
"""

from __future__ import annotations

import contextlib
import secrets
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from tests.e2e.conftest import Database
from tests.e2e.stage import POLL_INTERVAL, Stage, open_stage
from tests.e2e.ways import DATABASES, MARIADB, POSTGRESQL, SQLITE, Way, possible
from tests.support import mariadb
from tests.support.postgres import Server, drop_database, replace_dbname

#: Longest time, in seconds, that the workers may take. The heartbeats are ten minutes apart, so
#: on PostgreSQL more time helps nobody who was not told.
BOUNDS = {POSTGRESQL: 10.0, SQLITE: POLL_INTERVAL + 2.0, MARIADB: POLL_INTERVAL + 2.0}


@pytest.fixture(scope="module")
def stage_on(
    template: Database, postgres: Server, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[[str], Stage]]:
    """One site for each kind of database, started when it is asked for first."""
    stages: dict[str, Stage] = {}
    with contextlib.ExitStack() as stack:

        def get(kind: str) -> Stage:
            if kind not in stages:
                run_dir = tmp_path_factory.mktemp(kind)
                url = stack.enter_context(_database(kind, run_dir, template, postgres))
                ways, prepare = possible(kind), kind != POSTGRESQL
                stages[kind] = stack.enter_context(open_stage(url, run_dir, ways, prepare=prepare))
            return stages[kind]

        yield get


@contextlib.contextmanager
def _database(kind: str, run_dir: Path, template: Database, postgres: Server) -> Iterator[str]:
    if kind == POSTGRESQL:
        with _copied(postgres, template) as url:
            yield url
    elif kind == SQLITE:
        yield f"sqlite:///{run_dir / 'site.sqlite3'}"
    else:
        if reason := mariadb.missing():
            pytest.skip(reason)
        with mariadb.MariaDBServer() as server:
            yield server.create_database("site")


@contextlib.contextmanager
def _copied(server: Server, template: Database) -> Iterator[str]:
    name = f"e2e_{secrets.token_hex(4)}"
    with psycopg.connect(server.dsn(), autocommit=True) as connection:
        source = template.dsn.rpartition("/")[2]
        connection.execute(f'CREATE DATABASE "{name}" TEMPLATE "{source}"')
    try:
        yield replace_dbname(server.dsn(), name)
    finally:
        drop_database(server.dsn(), name)


def _cases() -> Iterator[Any]:
    for kind in DATABASES:
        marks = [pytest.mark.mariadb] if kind == MARIADB else []
        for way in possible(kind):
            yield pytest.param(kind, way, id=f"{kind}-{way.id}", marks=marks)


@pytest.mark.parametrize(("kind", "way"), [*_cases()])
def test_way__is_followed_by_every_worker(
    stage_on: Callable[[str], Stage], kind: str, way: Way
) -> None:
    stage = stage_on(kind)
    outcome = stage.go(way, BOUNDS[kind])
    assert outcome.verdict == "yes", "\n".join([way.title, *outcome.wrong, stage.site.log_tail(20)])
    if stage.pushes:
        assert "found by the heartbeat" not in stage.fleet.log
