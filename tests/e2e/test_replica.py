"""Pages that are read from a streaming standby which lags behind."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from tests.demo.site import DemoSite
from tests.e2e.conftest import CONTROLS, Database, Fleet
from tests.support.postgres import PostgresServer, create_database, replace_dbname
from tests.support.waiting import wait_until

LAG = 2.0


@pytest.fixture(scope="module")
def primary() -> Iterator[PostgresServer]:
    with PostgresServer(options={"wal_level": "replica", "max_wal_senders": "4"}) as server:
        yield server


@pytest.fixture(scope="module")
def standby(primary: PostgresServer) -> Iterator[PostgresServer]:
    delay = {"recovery_min_apply_delay": f"{int(LAG * 1000)}ms"}
    with PostgresServer(standby_of=primary, options=delay) as server:
        yield server


def test_a_standby_that_lags__is_waited_for(
    primary: PostgresServer, standby: PostgresServer, tmp_path: Path
) -> None:
    dsn = create_database(primary.dsn(), "site")
    unstarted = DemoSite(dsn, tmp_path)
    unstarted.prepare()
    content = unstarted.content
    replica = replace_dbname(standby.dsn(), "site")
    wait_until(lambda: has_pages(replica), 30, "the standby to have the content")
    env = {
        **CONTROLS,
        "DJANGO_SETTINGS_MODULE": "tests.e2e.replica_settings",
        "DEMO_REPLICA_URL": replica,
        "DEMO_CMS_URLRELOAD": '{"HEARTBEAT_INTERVAL": 600}',
    }
    with DemoSite(dsn, tmp_path, workers=2, prepare=False, env=env) as site:
        fleet = Fleet(site, Database(dsn, content))
        fleet.ping()
        fleet.wait_for_push()
        for number in range(2):
            page = content["news"]["id"]
            fleet.database.sql(
                "UPDATE cms_pageurl SET path = %s WHERE page_id = %s AND language = 'en'",
                f"news-{number}",
                page,
            )
            old = "news" if number == 0 else f"news-{number - 1}"
            # Told at once, and not to be seen yet: what was, is served.
            assert fleet.reverse("news:story-list") == [f"/en/{old}/"] * 2
            wait_until(
                lambda: fleet.reverse("news:story-list") == [f"/en/news-{number}/"] * 2,  # noqa: B023
                LAG + 8,
                "both to follow the standby",
            )
            assert fleet.statuses(f"/en/news-{number}/first-story/") == [200, 200]
            fleet.wait_for_push()


def has_pages(dsn: str) -> bool:
    try:
        with psycopg.connect(dsn) as connection:
            row: Any = connection.execute("SELECT count(*) FROM cms_pageurl").fetchone()
    except psycopg.Error:
        return False
    return bool(row[0] >= 8)
