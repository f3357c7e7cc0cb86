"""What can be counted of the costs, and is the same on every machine. Beside the tests of each
part: queries of a request (e2e/test_push.py) and of a refresh (test_reloader.py), notifications of
a transaction (test_triggers.py, test_commit_hook.py), wake-ups (test_listener.py).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import psycopg
import pytest
from cms.models import PageUrl

from cms_urlreload.signals import urls_reloaded
from cms_urlreload.state import State
from cms_urlreload_pg.transport import PostgresTransport
from tests.support.waiting import wait_until

from .conftest import Process, dsn

PAGES = 20


@pytest.fixture
def count_statements(transactional_db: None) -> Iterator[Callable[[], int]]:
    """How many statements the server has executed in this database, without this question."""
    question = (
        "SELECT coalesce(sum(calls), 0) FROM pg_stat_statements s "
        "JOIN pg_database d ON d.oid = s.dbid WHERE datname = current_database() "
        "AND query NOT LIKE '%pg_stat_statements%'"
    )
    with psycopg.connect(dsn(), autocommit=True, client_encoding="UTF8") as other:
        try:
            other.execute("CREATE EXTENSION IF NOT EXISTS pg_stat_statements")
            other.execute(question)
        except psycopg.Error as error:
            pytest.skip(f"the server does not count statements: {error}")
        yield lambda: int(other.execute(question).fetchone()[0])  # type: ignore[index]


@pytest.fixture
def listener(settings: Any, transactional_db: None) -> Iterator[PostgresTransport]:
    """One that hears, of a process that is current, with no heartbeat that is due."""
    settings.CMS_URLRELOAD = {"LISTEN": True, "HEARTBEAT_INTERVAL": 600}
    state = State()
    transport = PostgresTransport(state)
    transport.ensure_started()
    wait_until(lambda: transport.is_healthy, 10, "a healthy listener")
    state.applied = transport.read_token("default")
    state.settle(state.marks)
    assert time.monotonic() < state.lease_until
    beat(transport)
    yield transport
    transport.stop()


def beat(transport: PostgresTransport) -> None:
    """Have one heartbeat, as after a refresh."""
    before = transport.counters()["heartbeats"]
    transport.refreshed(True)
    wait_until(lambda: transport.counters()["heartbeats"] == before + 1, 5, "a heartbeat")


def test_a_heartbeat_is_one_statement(
    listener: PostgresTransport, count_statements: Callable[[], int]
) -> None:
    for _ in range(5):
        before = count_statements()
        beat(listener)
        assert count_statements() == before + 1


def test_a_change_of_one_page__copies_and_builds_no_more__the_more_pages_there_are(
    process: Process, make_page: Any
) -> None:
    replaced = []

    def keep(**kwargs: Any) -> None:
        replaced.append(kwargs["replaced"])

    def change(slug: str) -> int:
        """How many resolvers of apphooks are others than before."""
        before = {id(resolver) for resolver in process.reloader._tree.resolvers}  # type: ignore[union-attr]
        PageUrl.objects.filter(slug=slug).update(path=f"{slug}-moved")
        process.state.mark_dirty()
        process.refresh()
        return sum(id(r) not in before for r in process.reloader._tree.resolvers)  # type: ignore[union-attr]

    make_page("news-0", "NewsApphook")
    process.refresh()
    urls_reloaded.connect(keep)
    try:
        assert change("news-0") == 1
        for number in range(1, PAGES):
            make_page(f"news-{number}", "NewsApphook")
        process.state.mark_dirty()
        process.refresh()
        assert change("news-1") == 1
    finally:
        urls_reloaded.disconnect(keep)
    one, _, many = replaced
    assert one == many
