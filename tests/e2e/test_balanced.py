"""Reads that go now to one server and now to another, of which one lags behind."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.demo.site import DemoSite
from tests.e2e.conftest import (
    CONTROLS,
    ROUTES,
    ROUTES_SETTING,
    Database,
    Fleet,
    attach_routes,
)
from tests.e2e.test_replica import LAG, has_pages
from tests.e2e.test_snapshot import let_heartbeats_pass
from tests.support.balancer import Balancer
from tests.support.postgres import PostgresServer, create_database, replace_dbname
from tests.support.waiting import wait_until

CHANGES = 6
HEARTBEAT_INTERVAL = 1
#: Seconds after the standby's lag in which each worker must be right.
BOUND = 10


@pytest.fixture(scope="module")
def primary() -> Iterator[PostgresServer]:
    options = {"wal_level": "replica", "max_wal_senders": "4"}
    with PostgresServer(options=options) as server:
        yield server


@pytest.fixture(scope="module")
def standby(primary: PostgresServer) -> Iterator[PostgresServer]:
    delay = {"recovery_min_apply_delay": f"{int(LAG * 1000)}ms"}
    with PostgresServer(standby_of=primary, options=delay) as server:
        yield server


@pytest.fixture(scope="module")
def pair(
    primary: PostgresServer, standby: PostgresServer, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Database, str]:
    """The site's database, and the address of its copy on the standby."""
    dsn = create_database(primary.dsn(), "site")
    setting = {"DEMO_CMS_URLRELOAD": '{"CONFIG_MODELS": ["sections.Section"]}'}
    site = DemoSite(dsn, tmp_path_factory.mktemp("pair"), env={**ROUTES, **setting})
    site.prepare()
    database = Database(dsn, site.content)
    attach_routes(database)
    replica = replace_dbname(standby.dsn(), "site")
    wait_until(lambda: has_pages(replica), 30, "the standby to have the content")
    return database, replica


class Paths:
    """What the rows that the package reads decide."""

    name = "news:story-list"

    def commit(self, database: Database, number: int) -> None:
        database.sql(
            "UPDATE cms_pageurl SET path = %s WHERE page_id = %s AND language = 'en'",
            f"news-{number}",
            database.pages["news"]["id"],
        )

    def served(self, number: int) -> Any:
        return [f"/en/news-{number}/", "news", {}]


class Rows:
    """What the rows that get_urls() reads decide."""

    name = "routes:row"

    def commit(self, database: Database, number: int) -> None:
        database.sql("UPDATE sections_section SET slug = %s", f"row-{number}")

    def served(self, number: int) -> Any:
        return ["/en/about/row/", "routes", {"words": [f"row-{number}"]}]


SUBJECTS = pytest.mark.parametrize("subject", [Paths(), Rows()], ids=["paths", "rows of get_urls"])


def check_follows(fleet: Fleet, subject: Paths | Rows) -> None:
    """Each change arrives on each worker, and stays."""

    def served() -> list[Any]:
        return [fleet.served(subject.name, worker)["en"] for worker in fleet.workers]

    for number in range(CHANGES):
        expected = [subject.served(number)] * len(fleet.workers)
        subject.commit(fleet.database, number)
        wait_until(
            lambda: served() == expected,  # noqa: B023
            LAG + BOUND,
            lambda: f"{expected}: {served()}",  # noqa: B023
        )
    let_heartbeats_pass(fleet)
    assert served() == expected


@SUBJECTS
def test_reads_balanced_by_statement__never_stay_old(
    subject: Paths | Rows, pair: tuple[Database, str], start_on: Callable[..., Fleet]
) -> None:
    database, replica = pair
    with Balancer([database.dsn, replica]) as balancer:
        parts = urlsplit(database.dsn)
        user = parts.netloc.rpartition("@")[0]
        fleet = start_on(
            database,
            dsn=parts._replace(netloc=f"{user}@127.0.0.1:{balancer.port}").geturl(),
            workers=2,
            urlreload={
                **ROUTES_SETTING,
                "LISTEN_DSN": database.dsn,
                "HEARTBEAT_INTERVAL": HEARTBEAT_INTERVAL,
            },
            env={**ROUTES, "DEMO_DISABLE_SERVER_SIDE_CURSORS": "1"},
        )
        fleet.ping()
        check_follows(fleet, subject)
        print(f"transactions on each server: {balancer.sent}")
        assert min(balancer.sent) > CHANGES
        fleet.site.stop()


def start_at_random(
    start_on: Callable[..., Fleet], database: Database, replicas: list[str], **env: str
) -> Fleet:
    settings = {
        "DJANGO_SETTINGS_MODULE": "tests.e2e.random_replica_settings",
        "DEMO_REPLICA_URLS": " ".join(replicas),
    }
    urlreload = {**ROUTES_SETTING, "HEARTBEAT_INTERVAL": HEARTBEAT_INTERVAL}
    fleet = start_on(
        database, workers=2, urlreload=urlreload, env={**CONTROLS, **ROUTES, **settings, **env}
    )
    fleet.ping()
    return fleet


@SUBJECTS
def test_replicas_at_random__never_stay_old(
    subject: Paths | Rows, pair: tuple[Database, str], start_on: Callable[..., Fleet]
) -> None:
    database, replica = pair
    check_follows(start_at_random(start_on, database, [database.dsn, replica]), subject)


@SUBJECTS
def test_replicas_at_random__raise_no_false_alarm(
    subject: Paths | Rows, routes_database: Database, start_on: Callable[..., Fleet]
) -> None:
    """Two addresses of one server: the fingerprint is the same, whichever is read."""
    fleet = start_at_random(start_on, routes_database, [routes_database.dsn] * 2)
    check_follows(fleet, subject)  # an UPDATE of the rows is found by the heartbeat, and may be
    log = fleet.log
    for _ in range(5):
        fleet.database.notify()
        let_heartbeats_pass(fleet)
        fleet.ping()
    since = fleet.log.removeprefix(log)
    assert "reloaded" not in since
    assert "heartbeat" not in since
