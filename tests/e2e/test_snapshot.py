"""A process never records the fingerprint of one state of the database with the URLs of another.

Each thing that a refresh sends to the database is held in turn. While it is held, the database goes
from state a to state b; once the refresh is through, and before the next one, back to a. A process
that has read a's fingerprint and b's rows would then take b's URLs for those of a, for good.
"""

from __future__ import annotations

import contextlib
import json
import sqlite3
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import urlsplit

import pytest

from tests.demo.site import DemoSite
from tests.e2e.conftest import (
    ROUTES,
    ROUTES_SETTING,
    Database,
    Fleet,
    attach_routes,
)
from tests.e2e.gates import FileGate
from tests.e2e.test_poll import LiteDatabase
from tests.support import mariadb, pgbouncer
from tests.support.mariadb import MariaDBServer
from tests.support.pgbouncer import PgBouncer
from tests.support.proxy import Proxy
from tests.support.waiting import wait_until

#: A refresh that sends more than this is none that this test can end with.
MOST = 60
#: Heartbeats that must heal nothing, because there is nothing to heal.
HEARTBEATS = 2


class Gate(Protocol):
    @property
    def is_holding(self) -> bool: ...
    def release(self) -> None: ...


Hold = Callable[[int], AbstractContextManager[Gate]]


class Paths:
    """A state is the two paths of a page."""

    name = "news:story-list"

    def __init__(self, database: Database) -> None:
        self._database = database

    def commit(self, state: str) -> None:
        self._database.sql(
            "UPDATE cms_pageurl SET path = CASE language WHEN 'en' THEN %s ELSE %s END "
            "WHERE page_id = %s",
            f"news-{state}",
            f"neues-{state}",
            self._database.pages["news"]["id"],
        )

    def served(self, state: str) -> Any:
        return {
            "en": [f"/en/news-{state}/", "news", {}],
            "de": [f"/de/neues-{state}/", "news", {}],
        }


class Rows:
    """A state is a row that get_urls() reads, once for each language."""

    name = "routes:row"

    def __init__(self, database: Database) -> None:
        self._database = database

    def commit(self, state: str) -> None:
        self._database.sql("UPDATE sections_section SET slug = %s", state)

    def served(self, state: str) -> Any:
        return {
            "en": ["/en/about/row/", "routes", {"words": [state]}],
            "de": ["/de/impressum/row/", "routes", {"words": [state]}],
        }


SUBJECTS = pytest.mark.parametrize("subject", [Paths, Rows], ids=["paths", "rows of get_urls"])


def check_each_position(fleet: Fleet, subject: Paths | Rows, hold: Hold) -> None:
    """Hold the first thing that a refresh sends, then the second, until it sends no more."""
    subject.commit("a")
    wait_for(fleet, subject, "start")
    for position in range(1, MOST):
        was_held = check_position(fleet, subject, hold, position)
        if not was_held:
            print(f"a refresh sends {position - 1} times")
            assert position > 1
            return
    raise AssertionError(f"A refresh has sent more than {MOST} times.")


def check_position(fleet: Fleet, subject: Paths | Rows, hold: Hold, position: int) -> bool:
    """Whether there was something to hold."""
    other = f"events-{position}"
    with ThreadPoolExecutor(1) as pool, hold(position) as gate:
        # A change of another page asks for a refresh, from state a.
        fleet.database.move("events", other)
        fleet.database.notify()
        refreshed = pool.submit(request_until, fleet, f"/en/{other}/")
        wait_until(lambda: gate.is_holding or refreshed.done(), 30, "the refresh")
        was_held = gate.is_holding
        if was_held:
            commit_between(subject)
            gate.release()
        refreshed.result(30)
    subject.commit("a")
    wait_for(fleet, subject, f"what was sent as number {position} was held")
    return was_held


def commit_between(subject: Paths | Rows) -> None:
    """Commit b. Where a transaction of the reader keeps the writer out, nothing is between."""
    with contextlib.suppress(sqlite3.OperationalError):  # "database is locked"
        subject.commit("b")


def request_until(fleet: Fleet, url: str) -> None:
    """Ask what is served, which asks the database nothing, until a change is there. Here the
    refresh is the last thing before the answer."""
    wait_until(lambda: fleet.served("events:event-list")["en"][0] == url, 30, url)


def wait_for(fleet: Fleet, subject: Paths | Rows, what: str) -> None:
    def is_right() -> bool:
        return bool(fleet.served(subject.name) == subject.served("a"))

    wait_until(is_right, 10, lambda: f"state a ({what}): {fleet.served(subject.name)}")


def let_heartbeats_pass(fleet: Fleet) -> None:
    def count() -> int:
        [(calls,)] = fleet.database.sql(
            "SELECT coalesce(sum(calls), 0) FROM pg_stat_statements s JOIN pg_database d "
            "ON d.oid = s.dbid WHERE datname = current_database() AND query LIKE %s",
            "%cms-urlreload heartbeat%",
        )
        return int(calls)

    before = count()
    wait_until(lambda: count() >= before + HEARTBEATS, 20, "heartbeats")


# --- PostgreSQL -----------------------------------------------------------------------------------


@pytest.fixture
def start_through(
    routes_database: Database, start_on: Callable[..., Fleet]
) -> Iterator[Callable[..., tuple[Fleet, Proxy]]]:
    """Start a worker that has its database through a proxy, and listens past that."""
    with contextlib.ExitStack() as stack:

        def make(dsn: str) -> tuple[Fleet, Proxy]:
            parts = urlsplit(dsn)
            proxy = stack.enter_context(Proxy(parts.hostname or "", parts.port or 0))
            user = parts.netloc.rpartition("@")[0]
            fleet = start_on(
                routes_database,
                dsn=parts._replace(netloc=f"{user}@127.0.0.1:{proxy.port}").geturl(),
                workers=1,
                urlreload={
                    **ROUTES_SETTING,
                    "LISTEN_DSN": routes_database.dsn,
                    "HEARTBEAT_INTERVAL": 1,
                },
                env={**ROUTES, "DEMO_DISABLE_SERVER_SIDE_CURSORS": "1"},
            )
            fleet.ping()
            wait_until(lambda: "Push:" in fleet.log, 20, "the worker to listen")
            return fleet, proxy

        yield make


@SUBJECTS
def test_a_change_within_a_refresh__leaves_no_stale_urls(
    subject: type[Paths | Rows],
    routes_database: Database,
    start_through: Callable[..., tuple[Fleet, Proxy]],
) -> None:
    fleet, proxy = start_through(routes_database.dsn)
    check_each_position(fleet, subject(routes_database), proxy.hold)
    let_heartbeats_pass(fleet)
    wait_for(fleet, subject(routes_database), "after heartbeats")


@pytest.mark.pgbouncer
@SUBJECTS
def test_a_change_within_a_refresh__leaves_no_stale_urls__behind_pgbouncer(
    subject: type[Paths | Rows],
    routes_database: Database,
    start_through: Callable[..., tuple[Fleet, Proxy]],
) -> None:
    """In transaction mode, where each transaction may have another session of the server."""
    if reason := pgbouncer.missing():
        pytest.skip(reason)
    with PgBouncer(routes_database.dsn, "transaction") as pooler:
        fleet, proxy = start_through(pooler.through(routes_database.dsn))
        check_each_position(fleet, subject(routes_database), proxy.hold)
        let_heartbeats_pass(fleet)
        wait_for(fleet, subject(routes_database), "after heartbeats")
        fleet.site.stop()


# --- databases that are polled --------------------------------------------------------------------

#: Each request looks, and nothing else does.
POLL = {**ROUTES, "DEMO_CMS_URLRELOAD": json.dumps({**ROUTES_SETTING, "POLL_INTERVAL": 0})}


class PolledDatabase(LiteDatabase):
    """One that nobody is notified of."""

    def notify(self) -> None:
        pass


class BusyDatabase(PolledDatabase):
    """SQLite, with a writer that does not wait for readers to end."""

    def sql(self, statement: str, *parameters: Any) -> list[Any]:
        connection = sqlite3.connect(self.dsn, timeout=0.2, isolation_level=None)
        with contextlib.closing(connection):
            return connection.execute(statement.replace("%s", "?"), parameters).fetchall()


class MariaDatabase(PolledDatabase):
    def __init__(self, server: MariaDBServer, name: str, pages: dict[str, Any]) -> None:
        super().__init__(server.url(name), pages)
        self._connect: Callable[[], Any] = lambda: server.connect(name)

    def sql(self, statement: str, *parameters: Any) -> list[Any]:
        with contextlib.closing(self._connect()) as connection, connection.cursor() as cursor:
            cursor.execute(statement, parameters)
            return list(cursor.fetchall())


@pytest.mark.parametrize("journal", ["wal", "delete"])
@SUBJECTS
def test_a_change_within_a_refresh__leaves_no_stale_urls__on_sqlite(
    subject: type[Paths | Rows], journal: str, tmp_path: Path
) -> None:
    file = tmp_path / "site.sqlite3"
    folder = tmp_path / "gate"
    folder.mkdir()
    env = {**POLL, "ROUTES_HOLD": str(folder)}
    site = DemoSite(f"sqlite:///{file}", tmp_path, workers=1, env=env)
    site.prepare()
    database = BusyDatabase(str(file), site.content)
    attach_routes(database)
    database.sql(f"PRAGMA journal_mode = {journal}")
    site.start()
    try:
        fleet = Fleet(site, database)
        check_each_position(fleet, subject(database), lambda number: FileGate(folder, number))
    finally:
        site.stop()


@pytest.mark.mariadb
@SUBJECTS
def test_a_change_within_a_refresh__leaves_no_stale_urls__on_mariadb(
    subject: type[Paths | Rows], maria: MariaDBServer, maria_pages: dict[str, Any], tmp_path: Path
) -> None:
    database = MariaDatabase(maria, "site", maria_pages)
    with Proxy("127.0.0.1", maria.port) as proxy:
        url = maria.url("site").replace(f":{maria.port}/", f":{proxy.port}/")
        with DemoSite(url, tmp_path, workers=1, prepare=False, env=POLL) as site:
            check_each_position(Fleet(site, database), subject(database), proxy.hold)


@pytest.fixture(scope="module")
def maria() -> Iterator[MariaDBServer]:
    if reason := mariadb.missing():
        pytest.skip(reason)
    with MariaDBServer() as server:
        yield server


@pytest.fixture(scope="module")
def maria_pages(maria: MariaDBServer, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    folder = tmp_path_factory.mktemp("maria")
    site = DemoSite(maria.create_database("site"), folder, env=POLL)
    site.prepare()
    attach_routes(MariaDatabase(maria, "site", site.content))
    return site.content
