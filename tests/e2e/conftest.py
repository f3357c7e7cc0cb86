"""Real workers of the demo site, each test on a database of its own."""

from __future__ import annotations

import contextlib
import functools
import json
import re
import secrets
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

import psycopg
import pytest

from cms_urlreload.state import Token
from cms_urlreload_pg.token_sql import token_sql
from tests.demo.editor import Editor
from tests.demo.site import ROOT, DemoSite, Worker
from tests.support.postgres import (
    PostgresServer,
    Server,
    create_database,
    drop_database,
    replace_dbname,
)
from tests.support.waiting import wait_until

CONTROLS = {
    "DEMO_EXTRA_APPS": "tests.e2e.controls",
    "DEMO_ROOT_URLCONF": "tests.e2e.controls.urls",
}


class Database:
    """A database of the site, seen by somebody who is not the site."""

    def __init__(self, dsn: str, pages: dict[str, Any]) -> None:
        self.dsn = dsn
        self.pages = pages

    def sql(self, statement: str, *parameters: Any) -> list[Any]:
        with psycopg.connect(self.dsn, autocommit=True, client_encoding="UTF8") as connection:
            cursor = connection.execute(statement, parameters or None)
            return cursor.fetchall() if cursor.description else []

    def move(self, key: str, path: str, language: str = "en") -> None:
        """Change the URL of a page past the triggers, so that nobody announces it."""
        with psycopg.connect(self.dsn, autocommit=True) as connection:
            # As a subscriber of a replication would write: no trigger fires.
            connection.execute("SET session_replication_role = replica")
            connection.execute(
                "UPDATE cms_pageurl SET path = %s WHERE page_id = %s AND language = %s",
                (path, self.pages[key]["id"], language),
            )

    def move_and_notify(self, key: str, path: str, language: str = "en") -> None:
        self.move(key, path, language)
        self.notify()

    def notify(self) -> None:
        self.sql("SELECT pg_notify('apphooks', 'test')")

    def disable_triggers(self) -> None:
        """Be a database whose role was not allowed to have any."""
        tables = self.sql(
            "SELECT DISTINCT tgrelid::regclass::text FROM pg_trigger "
            "WHERE tgname LIKE 'cms_urlreload_%'"
        )
        assert tables
        for (table,) in tables:
            self.sql(f"ALTER TABLE {table} DISABLE TRIGGER USER")

    def token(self) -> Token:
        statement, parameters = token_sql("default")
        with psycopg.connect(self.dsn, client_encoding="UTF8") as connection:
            row = psycopg.ClientCursor(connection).execute(statement, parameters).fetchone()
        assert row is not None
        return Token(*row)

    def _fleet_names(self) -> list[str]:
        names = self.sql(
            "SELECT application_name FROM pg_stat_activity WHERE datname = current_database() "
            "AND application_name LIKE 'cms-urlreload %'"
        )
        return [name for (name,) in names]

    def fleet(self) -> list[tuple[int, str]]:
        """The workers that listen: pid and what they serve."""
        fields = (name.split() for name in self._fleet_names())
        return [(int(place.partition("@")[0]), token.rstrip("*")) for _, token, place in fields]

    def in_doubt(self) -> list[str]:
        """Those that say that they look at the token before their next answer."""
        return [name for name in self._fleet_names() if "*" in name]

    def terminate_listeners(self) -> int:
        return len(
            self.sql(
                "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE datname = "
                "current_database() AND application_name LIKE 'cms-urlreload %'"
            )
        )

    def forget_statements(self) -> None:
        self.sql("SELECT pg_stat_statements_reset()")

    def statements(self, *, ours_only: bool = False) -> dict[str, int]:
        """How often the workers had the server execute what, since it was told to forget; without
        the heartbeats, which no request causes."""
        rows = self.sql(
            "SELECT query, calls FROM pg_stat_statements s JOIN pg_database d ON d.oid = s.dbid "
            "WHERE datname = current_database() AND query NOT LIKE '%pg_stat_statements%' "
            "AND query NOT LIKE '%cms-urlreload heartbeat%'"
        )
        return {q: calls for q, calls in rows if not ours_only or "cms-urlreload" in q}

    def looks(self) -> int:
        """How often the workers have looked at the token, since the server was told to forget."""
        asked = self.statements(ours_only=True)
        return sum(calls for query, calls in asked.items() if "cms-urlreload token" in query)


@pytest.fixture(scope="session")
def template(postgres: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Database]:
    """A database with the demo's content, for others to be copied from."""
    name = f"e2e_template_{secrets.token_hex(4)}"
    dsn = create_database(postgres.dsn(), name)
    site = DemoSite(dsn, tmp_path_factory.mktemp("template"))
    site.prepare()
    yield Database(dsn, site.content)
    drop_database(postgres.dsn(), name)


@contextlib.contextmanager
def copy_of(template: Database, server: Server) -> Iterator[Database]:
    """A copy of a database, on the same server."""
    name = f"e2e_{secrets.token_hex(4)}"
    source = template.dsn.rpartition("/")[2]
    with psycopg.connect(server.dsn(), autocommit=True) as connection:
        connection.execute(f'CREATE DATABASE "{name}" TEMPLATE "{source}"')
    yield Database(replace_dbname(server.dsn(), name), template.pages)
    drop_database(server.dsn(), name)


@pytest.fixture
def database(postgres: Server, template: Database) -> Iterator[Database]:
    with copy_of(template, postgres) as database:
        yield database


#: Of a site with an apphook that reads its URLs from rows (tests/e2e/routes).
ROUTES = {
    "DEMO_EXTRA_APPS": "tests.e2e.controls tests.e2e.sections tests.e2e.routes",
    "DEMO_ROOT_URLCONF": "tests.e2e.routes.urls",
}
ROUTES_SETTING = {"CONFIG_MODELS": ["sections.Section"]}


def attach_routes(database: Database, word: str = "a") -> None:
    """Hang that apphook on a page, with one row."""
    page = database.pages["about"]["id"]
    database.sql(
        "UPDATE cms_page SET application_urls = 'RoutesApphook', application_namespace = 'routes' "
        "WHERE id = %s",
        page,
    )
    database.sql("INSERT INTO sections_section (slug, note) VALUES (%s, %s)", word, str(page))


@pytest.fixture(scope="session")
def _routes_template(
    postgres: Server, template: Database, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Database]:
    with copy_of(template, postgres) as database:
        setting = {"DEMO_CMS_URLRELOAD": json.dumps(ROUTES_SETTING)}
        folder = tmp_path_factory.mktemp("routes")
        DemoSite(database.dsn, folder, prepare=False, env={**ROUTES, **setting}).manage("migrate")
        attach_routes(database)
        yield database


@pytest.fixture
def routes_database(postgres: Server, _routes_template: Database) -> Iterator[Database]:
    """A database with the apphook of tests/e2e/routes on a page, and one row for it."""
    with copy_of(_routes_template, postgres) as database:
        yield database


class ModeLine(NamedTuple):
    """A line of the log by which a worker says how it hears of changes."""

    at: float
    pid: int
    mode: str
    text: str


_MODE_LINE = re.compile(r"^(\S+ \S+) \[(\d+)\] (?:INFO|WARNING) \S+: ((Push|Poll): .*)$", re.M)


class Fleet:
    """The site's workers, and what can be asked of all of them."""

    def __init__(self, site: DemoSite, database: Database) -> None:
        self.site = site
        self.database = database

    @property
    def workers(self) -> list[Worker]:
        return self.site.workers

    @property
    def log(self) -> str:
        return self.site.log_path.read_text()

    def statuses(self, path: str) -> list[int]:
        """What each worker answers, at its next request."""
        return [self.site.get(path, worker=worker).status for worker in self.workers]

    def reverse(self, name: str, view: str = "reverse") -> list[str | None]:
        return [
            json.loads(self.site.get(f"/controls/{view}/?name={name}", worker=worker).body)["url"]
            for worker in self.workers
        ]

    def ping(self) -> None:
        for worker in self.workers:
            assert self.site.get("/ping/", worker=worker).status == 200

    def mode_lines(self) -> list[ModeLine]:
        """What the workers have said of how they hear of changes; the times are of the log."""
        return [
            ModeLine(_seconds(when), int(pid), mode.lower(), text)
            for when, pid, text, mode in _MODE_LINE.findall(self.log)
        ]

    def polling(self) -> set[int]:
        """The workers whose last word is that they poll."""
        return {pid for pid, mode in self._modes().items() if mode == "poll"}

    def wait_for_poll(self, timeout: float = 20) -> None:
        """Wait until each worker has said that it polls now. Asks them nothing."""
        expected = {worker.pid for worker in self.workers}
        wait_until(
            lambda: self.polling() >= expected, timeout, lambda: f"all to poll: {self._modes()}"
        )

    def _modes(self) -> dict[int, str]:
        return {line.pid: line.mode for line in self.mode_lines()}

    def served(self, name: str, worker: Worker | None = None) -> Any:
        """What a worker serves under a name; see tests.e2e.routes.views."""
        answer = self.site.get(f"/served/?name={name}", worker=worker)
        return json.loads(answer.body)["served"]

    def reloads(self) -> int:
        return self.log.count("Apphook URLs reloaded")

    def token(self) -> str:
        """What each worker must serve, as it shows it."""
        return self.database.token().short

    def wait_for_push(self) -> None:
        """Wait until each worker listens, and has nothing to look up any more."""
        expected = {worker.pid for worker in self.workers}

        def current() -> bool:
            self.ping()
            fleet = self.database.fleet()
            served = {served for _, served in fleet}
            return {pid for pid, _ in fleet} == expected and served == {self.token()}

        wait_until(current, 30, lambda: f"all to serve {self.token()}: {self.database.fleet()}")
        # The heartbeat that told what is served came after the last look-up; but a notification
        # may have been on its way. One more request takes it in.
        self.ping()

    def wait_for(self, path: str, status: int = 200, timeout: float = 30) -> None:
        """Wait until each worker answers so. For what is not pushed."""
        wait_until(
            lambda: set(self.statuses(path)) == {status},
            timeout,
            lambda: f"{status} for {path}: {self.statuses(path)}",
        )


def _seconds(when: str) -> float:
    return datetime.fromisoformat(when.replace(",", ".")).timestamp()


@pytest.fixture
def start_on(tmp_path: Path) -> Iterator[Callable[..., Fleet]]:
    """Start the site with real workers on a database. Further arguments are DemoSite's, and
    CMS_URLRELOAD's; ``dsn`` is the address that the site has of the database, if it is not the
    one that tests use."""
    with contextlib.ExitStack() as stack:

        def make(
            database: Database,
            *,
            dsn: str | None = None,
            urlreload: dict[str, Any] | None = None,
            env: dict[str, str] | None = None,
            **kwargs: Any,
        ) -> Fleet:
            env = {**CONTROLS, "DEMO_CMS_URLRELOAD": json.dumps(urlreload or {}), **(env or {})}
            site = DemoSite(dsn or database.dsn, tmp_path, prepare=False, env=env, **kwargs)
            return Fleet(stack.enter_context(site), database)

        yield make


# The database comes first, so that the site is gone before it.
@pytest.fixture
def start(database: Database, start_on: Callable[..., Fleet]) -> Callable[..., Fleet]:
    """Start the site on the test's database."""
    return functools.partial(start_on, database)


class OwnServer(NamedTuple):
    """A server that a test may stop, and the name of a database on it to be copied from."""

    server: PostgresServer
    template: Database


@pytest.fixture(scope="session")
def _own_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OwnServer]:
    # Few connections, so that a test can take all of them.
    with PostgresServer(max_connections=24) as server:
        dsn = create_database(server.dsn(), "site_template")
        site = DemoSite(dsn, tmp_path_factory.mktemp("own"))
        site.prepare()
        yield OwnServer(server, Database(dsn, site.content))


@pytest.fixture
def own_server(_own_server: OwnServer) -> Iterator[PostgresServer]:
    """A server of the tests' own: to be stopped, killed, promoted from, filled. It runs again, on
    the same port, when the next test begins."""
    yield _own_server.server
    _own_server.server.start()


@pytest.fixture
def own_database(own_server: PostgresServer, _own_server: OwnServer) -> Iterator[Database]:
    """A database on the server that a test may stop."""
    name = f"e2e_{secrets.token_hex(4)}"
    with psycopg.connect(own_server.dsn(), autocommit=True) as connection:
        connection.execute(f'CREATE DATABASE "{name}" TEMPLATE site_template')
    yield Database(own_server.dsn(name), _own_server.template.pages)
    own_server.start()
    drop_database(own_server.dsn(), name)


@pytest.fixture
def start_own(own_database: Database, start_on: Callable[..., Fleet]) -> Callable[..., Fleet]:
    """Start the site on a server that the test may stop."""
    return functools.partial(start_on, own_database)


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """This distribution, built from its source archive, which lies beside it."""
    out = tmp_path_factory.mktemp("dist")
    subprocess.run(
        [sys.executable, "-m", "build", "--outdir", str(out), str(ROOT)],
        check=True,
        capture_output=True,
        timeout=300,
    )
    [path] = out.glob("*.whl")
    assert list(out.glob("*.tar.gz"))
    return path


@pytest.fixture
def edit() -> Callable[..., Editor]:
    """Log an editor in to the site."""
    return lambda fleet, **kwargs: Editor(fleet.site, **kwargs)
