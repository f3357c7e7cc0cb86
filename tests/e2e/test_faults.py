"""Whatever goes wrong: no worker ends stale, no request fails by us, and nothing is let past."""

from __future__ import annotations

import threading
from collections import Counter
from typing import Any
from urllib.parse import urlsplit

import psycopg
import pytest

from tests.support.postgres import PostgresServer, create_database
from tests.support.proxy import Proxy
from tests.support.waiting import wait_until


@pytest.fixture
def proxy(database: Any) -> Any:
    parts = urlsplit(database.dsn)
    with Proxy(parts.hostname or "", parts.port or 0) as proxy:
        yield proxy


def through(proxy: Proxy, database: Any) -> str:
    parts = urlsplit(database.dsn)
    user = parts.netloc.rpartition("@")[0]
    return str(parts._replace(netloc=f"{user}@127.0.0.1:{proxy.port}").geturl())


def test_a_listener_that_is_cut_off__is_polled_for__and_comes_back(
    start: Any, database: Any, proxy: Proxy
) -> None:
    """PostgreSQL is there, and only the listeners cannot reach it."""
    fleet = start(workers=2, urlreload={"LISTEN_DSN": through(proxy, database)})
    fleet.ping()
    fleet.wait_for_push()
    proxy.refuses = True
    proxy.cut()
    wait_until(lambda: fleet.log.count("Poll:") >= 2, 10, "both to notice")
    database.move("news", "while-away")
    fleet.wait_for("/en/while-away/first-story/", timeout=5)
    assert fleet.statuses("/en/news/first-story/") == [404, 404]
    assert database.fleet() == []

    proxy.refuses = False
    wait_until(lambda: len(database.fleet()) == 2, 60, "both to listen again")
    fleet.wait_for_push()
    database.move("news", "back-again")
    database.notify()
    fleet.wait_for("/en/back-again/first-story/", timeout=5)


def test_listeners_that_are_terminated__miss_nothing(start: Any, database: Any) -> None:
    fleet = start(workers=2, urlreload={"HEARTBEAT_INTERVAL": 600})
    fleet.ping()
    fleet.wait_for_push()
    for number in range(5):
        assert database.terminate_listeners() == 2
        database.move("news", f"news-{number}")
        database.notify()  # to nobody
        fleet.wait_for(f"/en/news-{number}/first-story/", timeout=10)
        wait_until(lambda: len(database.fleet()) == 2, 30, "both to listen again")
    fleet.wait_for_push()


def test_a_server_that_is_restarted__finds_all_workers_again(
    template: Any, tmp_path: Any, postgres: Any
) -> None:
    """On a server of the test's own, which it may stop."""
    from tests.demo.site import DemoSite
    from tests.e2e.conftest import Database, Fleet

    with PostgresServer() as server:
        dsn = create_database(server.dsn(), "site")
        with DemoSite(dsn, tmp_path, workers=2) as site:
            database = Database(dsn, site.content)
            fleet = Fleet(site, database)
            fleet.ping()
            fleet.wait_for_push()
            server.stop()
            # What needs no database is answered as ever.
            wait_until(lambda: fleet.log.count("Poll:") >= 2, 10, "both to notice")
            for _ in range(3):
                fleet.ping()
            server.start()
            database.move("news", "after-restart")
            fleet.wait_for("/en/after-restart/first-story/", timeout=15)
            wait_until(lambda: len(database.fleet()) == 2, 60, "both to listen again")
            fleet.wait_for_push()
            assert fleet.statuses("/en/after-restart/first-story/") == [200, 200]


def test_an_error_of_the_database_in_a_rebuild__leaves_the_last_good_urls(
    start: Any, database: Any
) -> None:
    fleet = start(workers=2)
    fleet.ping()
    fleet.wait_for_push()
    database.sql("ALTER ROLE CURRENT_USER SET lock_timeout = '200ms'")
    try:
        database.sql(
            "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity "
            "WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
        with psycopg.connect(database.dsn, client_encoding="UTF8") as locker:
            locker.execute("UPDATE cms_pageurl SET path = 'locked' WHERE path = 'news'")
            locker.execute("LOCK TABLE cms_pageurl IN ACCESS EXCLUSIVE MODE")
            for _ in range(3):
                fleet.ping()
            assert fleet.reverse("news:story-list") == ["/en/news/", "/en/news/"]
        assert "could not be refreshed" in fleet.log
        fleet.wait_for("/en/locked/first-story/", timeout=20)
    finally:
        database.sql("ALTER ROLE CURRENT_USER RESET lock_timeout")


def test_a_get_urls_that_raises__leaves_the_last_good_urls(
    start: Any, database: Any, tmp_path: Any
) -> None:
    flag = tmp_path / "broken"
    fleet = start(workers=2, env={"CONTROLS_BREAK_NEWS": str(flag)})
    fleet.ping()
    fleet.wait_for_push()
    flag.touch()
    database.move("news", "moved")
    database.notify()
    wait_until(lambda: fleet.ping() or fleet.log.count("told to break") >= 2, 10, "both to notice")
    for _ in range(20):
        assert fleet.statuses("/en/events/") == [200, 200]
        assert fleet.statuses("/en/admin/login/") == [200, 200]
    assert fleet.reverse("news:story-list") == ["/en/news/", "/en/news/"]
    assert fleet.log.count("could not be refreshed") == 2  # once in each worker
    flag.unlink()
    fleet.wait_for("/en/moved/first-story/", timeout=20)
    assert fleet.statuses("/en/news/first-story/") == [404, 404]


def test_reloads_under_load__let_nobody_past_a_login__and_lose_no_url(
    start: Any, database: Any
) -> None:
    """With the query of each rebuild slowed down, to have many requests in its middle."""
    reloads = 12
    fleet = start(
        workers=2,
        worker_class="gthread",
        threads=6,
        env={"CONTROLS_SLOW_BUILD": "0.3"},
    )
    events = database.pages["events"]["id"]
    database.sql("UPDATE cms_page SET login_required = true WHERE id = %s", events)
    fleet.ping()
    fleet.wait_for_push()
    answers: dict[str, Counter[int]] = {
        # Guarded, and valid all the time.
        "/de/termine/summer-party/": Counter(),
        # Guarded, and valid by turns.
        "/en/events-0/summer-party/": Counter(),
        "/en/events-1/summer-party/": Counter(),
        # Open, and valid all the time.
        "/en/news/first-story/": Counter(),
    }
    workers = fleet.workers
    stop = threading.Event()

    def hammer(path: str) -> None:
        while not stop.is_set():
            for worker in workers:
                answers[path][fleet.site.get(path, worker=worker).status] += 1

    threads = [threading.Thread(target=hammer, args=(path,)) for path in answers for _ in (1, 2)]
    for thread in threads:
        thread.start()
    try:
        for number in range(reloads):
            before = fleet.reloads()
            database.move("events", f"events-{number % 2}")
            database.notify()
            wait_until(lambda: fleet.reloads() >= before + 2, 20, "both to reload")  # noqa: B023
            stop.wait(0.2)  # of requests between two reloads
    finally:
        stop.set()
        for thread in threads:
            thread.join(30)
    print(dict(answers))
    assert set(answers["/de/termine/summer-party/"]) == {302}
    assert set(answers["/en/news/first-story/"]) == {200}
    for number in (0, 1):
        assert set(answers[f"/en/events-{number}/summer-party/"]) == {302, 404}
