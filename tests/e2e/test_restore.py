"""Restores into the database of a site that runs: what each worker hears of them, and when. By the
server's own pg_dump and pg_restore.
"""

from __future__ import annotations

import subprocess
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest

from tests.e2e.conftest import Database, Fleet
from tests.e2e.lines import move_by_sql
from tests.support.postgres import (
    EmbeddedServer,
    Server,
    create_database,
    drop_database,
    embedded_bin_dir,
)
from tests.support.waiting import wait_until

OLD, NEW = "/en/news/first-story/", "/en/later/first-story/"
#: What the end of a restore script says.
REMEDY = "SELECT pg_notify('apphooks', '')"
#: Seconds between two heartbeats: none comes in time to find anything, or some come while it lasts.
NEVER, OFTEN = 600, 0.2


class Restorer:
    """Has a dump of the database as it was, and brings it back."""

    def __init__(self, server: Server, database: Database, dump: Path) -> None:
        if isinstance(server, EmbeddedServer):
            self._bin_dir = server.server.bin_dir
        else:
            self._bin_dir = embedded_bin_dir()
        self._database = database
        self._dump = dump
        self._run("pg_dump", "--format=custom", f"--file={dump}", database.dsn)

    def restore(self, *options: str, into: str = "") -> None:
        strict = ("--exit-on-error", f"--dbname={into or self._database.dsn}")
        started = time.monotonic()
        self._run("pg_restore", *strict, *options, str(self._dump))
        print(f"pg_restore {' '.join(options)}: {time.monotonic() - started:.2f} s")

    def empty_tables(self) -> None:
        rows = self._database.sql("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")
        names = ", ".join(f'"{name}"' for (name,) in rows)
        self._database.sql(f"TRUNCATE {names}")

    def _run(self, name: str, *arguments: str) -> None:
        command = [str(self._bin_dir / name), *arguments]
        answer = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
        assert answer.returncode == 0, answer.stderr


@pytest.fixture
def restorer(postgres: Server, database: Database, tmp_path: Path) -> Restorer:
    return Restorer(postgres, database, tmp_path / "dump")


def begin(start: Any, database: Database, heartbeat: float) -> Fleet:
    """Two workers, which have followed a change that is not in the dump."""
    fleet: Fleet = start(workers=2, urlreload={"HEARTBEAT_INTERVAL": heartbeat})
    fleet.ping()
    fleet.wait_for_push()
    move_by_sql(database, "news", "later")
    fleet.wait_for_push()
    assert fleet.statuses(NEW) == [200, 200]
    return fleet


def wait_for_restored(fleet: Fleet, timeout: float) -> None:
    started = time.monotonic()
    fleet.wait_for(OLD, timeout=timeout)
    print(f"all workers are right after {time.monotonic() - started:.2f} s")
    assert fleet.statuses(NEW) == [404, 404]


def test_a_restore_of_the_data__is_heard(start: Any, database: Any, restorer: Restorer) -> None:
    """Each COPY fires the triggers."""
    fleet = begin(start, database, NEVER)
    restorer.empty_tables()
    # In one transaction, at whose end the foreign keys are checked.
    restorer.restore("--data-only", "--single-transaction")
    wait_for_restored(fleet, 10)
    assert "Poll:" not in fleet.log


def test_a_restore_past_the_triggers__is_found_by_the_heartbeat(
    start: Any, database: Any, restorer: Restorer
) -> None:
    fleet = begin(start, database, OFTEN)
    restorer.empty_tables()
    restorer.restore("--data-only", "--disable-triggers")
    wait_for_restored(fleet, 10)


def test_a_restore_past_the_triggers__is_heard__if_its_script_says_so(
    start: Any, database: Any, restorer: Restorer
) -> None:
    fleet = begin(start, database, NEVER)
    restorer.empty_tables()
    fleet.wait_for_push()
    assert fleet.reverse("news:story-list") == [None, None]
    restorer.restore("--data-only", "--disable-triggers")
    # Nobody has told them, and nobody would.
    threading.Event().wait(1)
    assert fleet.statuses(OLD) == [404, 404]
    database.sql(REMEDY)
    wait_for_restored(fleet, 10)
    assert "Poll:" not in fleet.log


@contextmanager
def requests_to_all(fleet: Fleet) -> Iterator[Counter[int]]:
    """Requests that need no page, all the time."""
    statuses: Counter[int] = Counter()
    stop = threading.Event()

    def ask() -> None:
        while not stop.wait(0.01):
            for worker in fleet.workers:
                statuses[fleet.site.get("/ping/", worker=worker).status] += 1

    thread = threading.Thread(target=ask)
    thread.start()
    try:
        yield statuses
    finally:
        stop.set()
        thread.join(30)


@pytest.mark.parametrize("options", [(), ("--single-transaction",)], ids=["steps", "transaction"])
def test_a_restore_of_all_tables__is_found_by_the_heartbeat__and_fails_no_request(
    start: Any, database: Any, restorer: Restorer, options: tuple[str, ...]
) -> None:
    """It drops the tables, and with them the triggers, and makes these again after the data. A
    heartbeat that finds no tables is taken for the loss of the connection."""
    fleet = begin(start, database, OFTEN)
    with requests_to_all(fleet) as statuses:
        restorer.restore("--clean", "--if-exists", *options)
        wait_for_restored(fleet, 30)
    print(dict(statuses))
    assert set(statuses) == {200}
    wait_until(lambda: len(database.fleet()) == 2, 30, "both to listen")
    fleet.wait_for_push()
    assert "W005" not in fleet.site.manage("check", "--database", "default")


def test_a_restore_of_all_tables__is_heard__if_its_script_says_so(
    start: Any, database: Any, restorer: Restorer
) -> None:
    fleet = begin(start, database, NEVER)
    restorer.restore("--clean", "--if-exists")
    threading.Event().wait(1)
    assert fleet.statuses(NEW) == [200, 200]
    database.sql(REMEDY)
    wait_for_restored(fleet, 10)
    # The triggers are there again.
    move_by_sql(database, "news", "again")
    fleet.wait_for("/en/again/first-story/", timeout=10)
    assert "Poll:" not in fleet.log


def test_a_database_that_takes_the_place_of_another__is_found_at_once(
    start: Any, postgres: Server, database: Any, restorer: Restorer
) -> None:
    """Restored beside it, and renamed: each worker has to connect again, and looks then."""
    name = database.dsn.rpartition("/")[2]
    beside = create_database(postgres.dsn(), f"{name}_beside")
    try:
        fleet = begin(start, database, NEVER)
        restorer.restore("--clean", "--if-exists", into=beside)
        with psycopg.connect(postgres.dsn(), autocommit=True) as connection:
            connection.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS false")
            connection.execute(
                "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE datname = %s",
                [name],
            )
            connection.execute(f"ALTER DATABASE {name} RENAME TO {name}_before")
            connection.execute(f"ALTER DATABASE {name}_beside RENAME TO {name}")
        wait_for_restored(fleet, 30)
        wait_until(lambda: len(database.fleet()) == 2, 30, "both to listen")
    finally:
        for end in ("before", "beside"):
            drop_database(postgres.dsn(), f"{name}_{end}")
