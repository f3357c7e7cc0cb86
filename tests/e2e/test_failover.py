"""A primary that dies, and a streaming standby that takes its place."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import urlsplit

import psycopg
import pytest

from tests.e2e.conftest import Database, Fleet
from tests.support.postgres import PostgresServer, replace_dbname
from tests.support.waiting import wait_until

NO_HEARTBEAT = {"HEARTBEAT_INTERVAL": 600}


@pytest.fixture
def standby(own_server: PostgresServer, own_database: Database) -> Iterator[PostgresServer]:
    """It follows the server of the test, without a lag."""
    with PostgresServer(standby_of=own_server, max_connections=24) as server:
        yield server


def on(server: PostgresServer, database: Database) -> Database:
    """The database of the same name on another server."""
    name = urlsplit(database.dsn).path[1:]
    return Database(replace_dbname(server.dsn(), name), database.pages)


def has_all(standby: PostgresServer, primary: PostgresServer) -> bool:
    with psycopg.connect(primary.dsn()) as connection:
        written = connection.execute("SELECT pg_current_wal_lsn()").fetchone()
    with psycopg.connect(standby.dsn()) as connection:
        statement = "SELECT pg_last_wal_replay_lsn() >= %s::pg_lsn"
        row = connection.execute(statement, written).fetchone()
    return bool(row and row[0])


@pytest.mark.parametrize("address", ["DATABASES", "LISTEN_DSN"])
def test_a_standby_that_is_promoted__is_found_among_several_hosts(
    address: str,
    own_server: PostgresServer,
    standby: PostgresServer,
    own_database: Database,
    start_own: Callable[..., Fleet],
) -> None:
    # The standby first: it answers, and is not to be taken.
    hosts = {"HOST": "127.0.0.1,127.0.0.1", "PORT": f"{standby.port},{own_server.port}"}
    urlreload: dict[str, Any] = dict(NO_HEARTBEAT)
    if address == "LISTEN_DSN":
        urlreload["LISTEN_DSN"] = psycopg.conninfo.make_conninfo(
            own_database.dsn, host=hosts["HOST"], port=hosts["PORT"]
        )
    # Django asks for the primary in its own words; the listener needs none.
    django = {**hosts, "OPTIONS": {"target_session_attrs": "primary"}}
    fleet = start_own(
        workers=2,
        urlreload=urlreload,
        env={
            "DJANGO_SETTINGS_MODULE": "tests.e2e.server_settings",
            "E2E_DATABASE": json.dumps(django),
        },
    )
    fleet.ping()
    fleet.wait_for_push()
    wait_until(lambda: has_all(standby, own_server), 30, "the standby to follow")

    own_server.kill()
    fleet.wait_for_poll()
    assert fleet.statuses("/controls/alive/") == [200, 200]
    assert fleet.reverse("news:story-list") == ["/en/news/", "/en/news/"]
    standby.promote()
    fleet.database = on(standby, own_database)
    fleet.database.move("news", "promoted")
    fleet.wait_for("/en/promoted/first-story/", timeout=20)

    wait_until(lambda: not fleet.polling(), 60, "both to listen to the new primary")
    fleet.wait_for_push()
    fleet.database.move_and_notify("news", "pushed-by-it")
    fleet.wait_for("/en/pushed-by-it/first-story/", timeout=10)
    assert fleet.statuses("/en/promoted/first-story/") == [404, 404]


def test_a_standby_alone_in_listen_dsn__is_refused__and_polled_around(
    standby: PostgresServer, own_database: Database, start_own: Callable[..., Fleet]
) -> None:
    dsn = on(standby, own_database).dsn
    fleet = start_own(workers=2, urlreload={**NO_HEARTBEAT, "LISTEN_DSN": dsn})
    fleet.ping()
    fleet.wait_for_poll()
    assert all("standby" in line.text for line in fleet.mode_lines())
    own_database.move("news", "polled")
    fleet.wait_for("/en/polled/first-story/", timeout=10)
    assert fleet.statuses("/en/news/first-story/") == [404, 404]
    assert fleet.polling() == {worker.pid for worker in fleet.workers}
