"""Whatever goes wrong in a worker: none ends stale, no request fails by us, and nothing is let
past. What goes wrong with the server is in test_outages.py.
"""

from __future__ import annotations

import http.client
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import psycopg
import pytest

from tests.support.waiting import wait_until

#: No heartbeat finds what nobody has announced.
NO_HEARTBEAT = {"HEARTBEAT_INTERVAL": 600}
CLIENTS = 4
COMMITS = 1000


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


def test_a_notification_during_a_rebuild__asks_for_another(
    start: Any, database: Any, tmp_path: Path
) -> None:
    """It comes when the rows are read, and their URLs are not yet in place."""
    hold = tmp_path / "hold"
    fleet = start(workers=2, urlreload=NO_HEARTBEAT, env={"CONTROLS_HOLD_BUILD": str(hold)})
    fleet.ping()
    fleet.wait_for_push()
    for number in range(3):
        hold.touch()
        database.move_and_notify("news", f"first-{number}")
        with ThreadPoolExecutor(2) as pool:
            # The notification may take longer than the first requests, which are not held then.
            asked = [pool.submit(ask_until_held, fleet, worker, hold) for worker in fleet.workers]
            try:
                wait_until(lambda: len(held(hold)) == 2, 20, "both to be in the middle")
                database.move_and_notify("news", f"second-{number}")
                threading.Event().wait(0.2)  # for the listeners to hear of it
            finally:
                hold.unlink()
            for each in asked:
                each.result(20)
        for file in held(hold):
            file.unlink()
        fleet.wait_for(f"/en/second-{number}/first-story/", timeout=5)
        assert fleet.statuses(f"/en/first-{number}/first-story/") == [404, 404]
        assert fleet.statuses("/en/news/first-story/") == [404, 404]


def held(hold: Path) -> list[Path]:
    """A file of each worker that has read the rows and waits."""
    return list(hold.parent.glob(f"{hold.name}.*"))


def ask_until_held(fleet: Any, worker: Any, hold: Path) -> None:
    while hold.exists():
        assert fleet.site.get("/ping/", worker=worker).status == 200


def test_1000_commits_in_a_burst_from_4_clients__are_followed__in_fewer_rebuilds(
    start: Any, database: Any
) -> None:
    """Each client moves a page of its own, by SQL, as fast as it can, and once more for some
    seconds; the triggers announce each of its commits."""
    fleet = start(workers=2, urlreload=NO_HEARTBEAT)
    fleet.ping()
    for name, pause in (("fast", 0.0), ("slow", 0.01)):
        fleet.wait_for_push()
        before = fleet.reloads()
        took, answers = burst(fleet, name, pause)
        over = time.monotonic()
        last = COMMITS // CLIENTS - 1
        for language in ("en", "de"):
            fleet.wait_for(f"/{language}/news-{name}-{last}/first-story/", timeout=15)
            fleet.wait_for(f"/{language}/events-{name}-{last}/sprint/", timeout=15)
        followed = time.monotonic() - over
        assert fleet.statuses(f"/en/news-{name}-{last - 1}/first-story/") == [404, 404]
        rebuilds = fleet.reloads() - before
        print(
            f"{COMMITS} commits in {took:.1f} s, {rebuilds} rebuilds in 2 workers, all current "
            f"{followed:.1f} s after the last one; meanwhile {answers}"
        )
        assert 2 <= rebuilds < COMMITS
        assert {status for counted in answers.values() for status in counted} == {200}


def burst(fleet: Any, name: str, pause: float) -> tuple[float, dict[str, Counter[int]]]:
    """Have all clients commit while requests go on; return the seconds, and the answers."""
    answers: dict[str, Counter[int]] = {"/ping/": Counter(), "/en/about/": Counter()}
    stop = threading.Event()

    def ask(path: str) -> None:
        while not stop.is_set():
            answers[path].update(fleet.statuses(path))

    targets = [(key, language) for key in ("news", "events") for language in ("en", "de")]
    assert len(targets) == CLIENTS
    with ThreadPoolExecutor(CLIENTS + len(answers)) as pool:
        asking = [pool.submit(ask, path) for path in answers]
        started = time.monotonic()
        try:
            clients = [
                pool.submit(commit_often, fleet.database, *target, name, pause)
                for target in targets
            ]
            for client in clients:
                client.result(120)
            took = time.monotonic() - started
        finally:
            stop.set()
        for each in asking:
            each.result(60)
    return took, answers


def commit_often(database: Any, key: str, language: str, name: str, pause: float) -> None:
    page = database.pages[key]["id"]
    breath = threading.Event()
    with psycopg.connect(database.dsn, autocommit=True) as connection:
        for number in range(COMMITS // CLIENTS):
            connection.execute(
                "UPDATE cms_pageurl SET path = %s WHERE page_id = %s AND language = %s",
                (f"{key}-{name}-{number}", page, language),
            )
            breath.wait(pause)


@pytest.mark.parametrize("triggers", [True, False], ids=["with triggers", "without triggers"])
def test_a_worker_that_is_killed_between_commit_and_announcement__leaves_the_others_current(
    start: Any, database: Any, tmp_path: Path, triggers: bool
) -> None:
    """At once where triggers are in, else within a heartbeat."""
    if triggers:
        heartbeat = 600.0
    else:
        heartbeat = 2.0
        database.disable_triggers()
    flag = tmp_path / "kill"
    fleet = start(
        workers=3,
        urlreload={"HEARTBEAT_INTERVAL": heartbeat},
        env={"CONTROLS_KILL_BEFORE_ANNOUNCING": str(flag)},
    )
    fleet.ping()
    fleet.wait_for_push()
    victim, *others = fleet.workers
    page = database.pages["news"]["id"]
    flag.touch()
    with pytest.raises((http.client.HTTPException, OSError)):
        fleet.site.get(f"/controls/change/?page={page}&path=orphan&end=commit", worker=victim)
    committed = time.monotonic()
    assert not flag.exists()
    wait_until(
        lambda: all(
            fleet.site.get("/en/orphan/first-story/", worker=worker).status == 200
            for worker in others
        ),
        10,
        "the others to be current",
    )
    print(f"current after {time.monotonic() - committed:.2f} s of {heartbeat:g}")
    for worker in others:
        assert fleet.site.get("/en/news/first-story/", worker=worker).status == 404
    if not triggers:
        wait_until(lambda: "found by the heartbeat" in fleet.log, 10, "the log")
    # Nobody but it was ended, and gunicorn has another in its place.
    wait_until(lambda: len(fleet.workers) == 3, 30, "a new worker")
    assert set(others) < set(fleet.workers)
    fleet.wait_for("/en/orphan/first-story/")
