"""Behind PgBouncer: a site pushes where its listeners can hear, and says what to set where not."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import urlsplit

import psycopg
import pytest

from tests.e2e.conftest import Database, Fleet
from tests.support import pgbouncer
from tests.support.pgbouncer import PgBouncer
from tests.support.postgres import Server, drop_database, replace_dbname
from tests.support.waiting import wait_until

pytestmark = pytest.mark.pgbouncer

NO_HEARTBEAT = {"HEARTBEAT_INTERVAL": 600}
#: A proof of delivery that fails is not to be waited for as long as by default.
FAST_PROOF = {**NO_HEARTBEAT, "HEARTBEAT_TIMEOUT": 2}
#: As Django's documentation wants it behind a pooler in transaction mode.
BEHIND_POOLER = {
    "DJANGO_SETTINGS_MODULE": "tests.e2e.server_settings",
    "E2E_DATABASE": '{"DISABLE_SERVER_SIDE_CURSORS": true}',
}


@pytest.fixture
def pool(database: Database) -> Iterator[Callable[..., PgBouncer]]:
    """Start a PgBouncer in front of the database's server."""
    if reason := pgbouncer.missing():
        pytest.skip(reason)
    with contextlib.ExitStack() as stack:
        yield lambda mode: stack.enter_context(PgBouncer(database.dsn, mode))


def check_poll(fleet: Fleet, *words: str) -> None:
    """All workers poll, say why and what to set, and follow a change."""
    fleet.ping()
    fleet.wait_for_poll()
    for worker in fleet.workers:
        (line,) = [line for line in fleet.mode_lines() if line.pid == worker.pid]
        print(line.text)
        assert line.text.startswith("Poll:")
        for word in words:
            assert word in line.text
    for number in range(3):
        fleet.database.move("news", f"polled-{number}")
        fleet.wait_for(f"/en/polled-{number}/first-story/", timeout=10)
        assert fleet.statuses("/en/news/first-story/") == [404, 404]
    assert fleet.polling() == {worker.pid for worker in fleet.workers}


def check_push(fleet: Fleet) -> None:
    fleet.ping()
    fleet.wait_for_push()
    fleet.database.move_and_notify("news", "pushed")
    fleet.wait_for("/en/pushed/first-story/", timeout=10)
    assert fleet.statuses("/en/news/first-story/") == [404, 404]
    fleet.database.sql("UPDATE cms_pageurl SET path = 'by-trigger' WHERE path = 'pushed'")
    fleet.wait_for("/en/by-trigger/first-story/", timeout=10)
    assert fleet.polling() == set()


def clients(pooler: PgBouncer, database: Database) -> list[str]:
    """The application_name of each client that is connected to the database through a pooler."""
    name = urlsplit(database.dsn).path[1:]
    return [row["application_name"] for row in pooler.show("CLIENTS") if row["database"] == name]


def channels_left_behind(pooler: PgBouncer, dsn: str) -> set[str]:
    """What the server connections of a pool in transaction mode listen to."""
    name = urlsplit(dsn).path[1:]
    servers = [row for row in pooler.show("SERVERS") if row["database"] == name]
    found = set()
    with contextlib.ExitStack() as stack:
        # In transactions that stay open, so that each has a server connection of its own.
        for _ in servers:
            connection = stack.enter_context(psycopg.connect(dsn))
            rows = connection.execute("SELECT pg_listening_channels()").fetchall()
            found |= {channel for (channel,) in rows}
    return found


def test_transaction_mode__is_seen__and_polled_around__and_told(
    start: Any, database: Database, pool: Callable[..., PgBouncer]
) -> None:
    pooler = pool("transaction")
    fleet = start(
        dsn=pooler.through(database.dsn), workers=2, urlreload=FAST_PROOF, env=BEHIND_POOLER
    )
    check_poll(fleet, "PgBouncer", "transaction", "LISTEN_DATABASE", "LISTEN_DSN")
    assert "Push:" not in fleet.log
    # On a pooled connection the site's channel would wake whoever has that connection then. What
    # the proof itself leaves there, on a channel that nobody notifies, is cleared by later ones.
    left = [channels_left_behind(pooler, pooler.through(database.dsn)) for _ in range(5)]
    print(f"channels left behind: {[len(channels) for channels in left]}")
    assert not any("apphooks" in channels for channels in left)


def test_a_listen_that_is_left_behind__would_be_seen(
    database: Database, pool: Callable[..., PgBouncer]
) -> None:
    """What the test before this one looks for is there to be found."""
    pooler = pool("transaction")
    through = pooler.through(database.dsn)
    with psycopg.connect(through, autocommit=True) as connection:
        connection.execute("LISTEN apphooks")
        assert channels_left_behind(pooler, through) == {"apphooks"}
    assert channels_left_behind(pooler, through) == {"apphooks"}


@pytest.mark.parametrize("key", ["LISTEN_DSN", "LISTEN_DATABASE"])
def test_transaction_mode_with_an_address_past_it__pushes(
    key: str, start: Any, database: Database, pool: Callable[..., PgBouncer]
) -> None:
    """All else goes through the pool."""
    pooler = pool("transaction")
    value = {"LISTEN_DSN": database.dsn, "LISTEN_DATABASE": "direct"}[key]
    fleet = start(
        dsn=pooler.through(database.dsn),
        workers=2,
        urlreload={**NO_HEARTBEAT, key: value},
        env={**BEHIND_POOLER, "E2E_DIRECT_URL": database.dsn},
    )
    check_push(fleet)
    assert len(clients(pooler, database)) >= 2  # Django's
    assert not any(name.startswith("cms-urlreload ") for name in clients(pooler, database))


def test_session_mode__pushes_through_it(
    start: Any, database: Database, pool: Callable[..., PgBouncer]
) -> None:
    pooler = pool("session")
    fleet = start(dsn=pooler.through(database.dsn), workers=2, urlreload=NO_HEARTBEAT)
    check_push(fleet)
    listeners = [name for name in clients(pooler, database) if name.startswith("cms-urlreload ")]
    assert len(listeners) == 2
    # And comes back through it.
    assert database.terminate_listeners() == 2
    fleet.wait_for_poll()
    wait_until(lambda: not fleet.polling(), 60, "both to listen again")
    fleet.wait_for_push()


def test_a_listen_dsn_that_leads_to_another_database__is_seen__and_told(
    start: Any, database: Database, postgres: Server, template: Database
) -> None:
    """A copy of the site's database: all statements work there, and no change is heard."""
    name = f"{urlsplit(database.dsn).path[1:]}_copy"
    source = urlsplit(template.dsn).path[1:]
    with psycopg.connect(postgres.dsn(), autocommit=True) as connection:
        connection.execute(f'CREATE DATABASE "{name}" TEMPLATE "{source}"'.encode())
    try:
        other = replace_dbname(postgres.dsn(), name)
        fleet = start(workers=2, urlreload={**FAST_PROOF, "LISTEN_DSN": other})
        check_poll(fleet, "LISTEN_DSN")
    finally:
        drop_database(postgres.dsn(), name)
