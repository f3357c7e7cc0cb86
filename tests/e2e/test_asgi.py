"""Under ASGI: a change is heard, an unchanged request stays where it is, and nothing is asked in
the event loop."""

from __future__ import annotations

import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from tests.support.waiting import wait_until

#: A synchronous and an asynchronous view, and look-ups in both.
VIEWS = (
    "/ping/",
    "/aping/",
    "/controls/reverse/?name=events:event-list",
    "/controls/areverse/?name=events:event-list",
)
#: What django CMS answers only with its middleware, in which nothing is asynchronous.
PAGES = ("/en/", "/en/events/", "/en/events/sprint/")
CASES = pytest.mark.parametrize(
    ("all_async", "paths"),
    [("1", VIEWS), ("", VIEWS + PAGES)],
    ids=["all middleware asynchronous", "with django CMS's middleware"],
)
#: Seconds that each build takes, where the loop is watched.
SLOW = 1.0


def start_uvicorn(start: Any, all_async: str, **env: str) -> Any:
    settings = {"DJANGO_SETTINGS_MODULE": "tests.e2e.asgi_settings", "ASGI_ALL_ASYNC": all_async}
    return start(
        server="uvicorn",
        workers=1,
        urlreload={"HEARTBEAT_INTERVAL": 600},
        env={**settings, **env},
    )


def hops(fleet: Any, path: str) -> list[str]:
    """What a request has had done in threads."""
    answer = fleet.site.get(path)
    assert answer.status == 200
    return [name for name in answer.headers["x-hops"].split(",") if name]


def hops_of_unchanged_requests(fleet: Any, paths: tuple[str, ...]) -> list[list[str]]:
    for path in paths:
        hops(fleet, path)  # what only a first request does
    return [hops(fleet, path) for path in paths]


@CASES
def test_an_unchanged_request__takes_no_hop_into_a_thread(
    start: Any, database: Any, all_async: str, paths: tuple[str, ...]
) -> None:
    found = {}
    for reload in ("none", "core"):
        fleet = start_uvicorn(start, all_async, DEMO_RELOAD=reload)
        found[reload] = hops_of_unchanged_requests(fleet, paths)
        fleet.site.stop()
    fleet = start_uvicorn(start, all_async)
    hops(fleet, "/ping/")
    fleet.wait_for_push()
    for _ in range(2):
        assert hops_of_unchanged_requests(fleet, paths) == found["none"]
        # The counter counts: this one has to look.
        database.notify()
        if all_async:
            wait_until(lambda: "Reloader._look_reserved" in hops(fleet, "/aping/"), 10, "the hop")
        fleet.wait_for_push()
    print(dict(zip(paths, found["none"], strict=True)))
    if all_async:
        # The middleware of django CMS takes one with each request.
        for ours, core in zip(found["none"], found["core"], strict=True):
            assert len(core) > len(ours)


@CASES
def test_changes_under_load__ask_nothing_in_the_event_loop__and_do_not_block_it(
    start: Any, database: Any, all_async: str, paths: tuple[str, ...]
) -> None:
    fleet = start_uvicorn(start, all_async, CONTROLS_SLOW_BUILD=str(SLOW))
    hops_of_unchanged_requests(fleet, paths)
    fleet.wait_for_push()
    statuses: Counter[int] = Counter()
    late = []
    stop = threading.Event()

    def hammer(number: int) -> None:
        while not stop.is_set():
            answer = fleet.site.get(paths[number % len(paths)])
            statuses[answer.status] += 1
            late.append(int(answer.headers["x-loop-late"]))

    with ThreadPoolExecutor(8) as pool:
        done = [pool.submit(hammer, number) for number in range(8)]
        try:
            for number in range(3):
                before = fleet.reloads()
                database.move("news", f"news-{number}")
                database.notify()
                wait_until(lambda: fleet.reloads() > before, 20, "a reload")  # noqa: B023
                assert fleet.reverse("news:story-list", "areverse") == [f"/en/news-{number}/"]
        finally:
            stop.set()
        for future in done:
            future.result(60)
    print(dict(statuses), f"the loop was {max(late)} ms late at most")
    assert set(statuses) == {200}
    # One that had waited for a build would have been as late as that takes.
    assert max(late) < 1000 * SLOW * 0.8
    assert "SynchronousOnlyOperation" not in fleet.log
    assert "Traceback" not in fleet.log


def test_uvicorn__leaves_no_session_behind(start: Any, database: Any) -> None:
    fleet = start(server="uvicorn", workers=1)
    fleet.ping()
    wait_until(lambda: len(database.fleet()) == 1, 10, "a listener")
    assert fleet.site.stop()
    wait_until(lambda: database.fleet() == [], 10, "the end of its session")
