"""Who waits for a refresh costs little, and no refresh waits for what it cannot get."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.e2e.conftest import ROUTES, ROUTES_SETTING, Database, Fleet
from tests.e2e.test_deadline import REFRESH_TIMEOUT, SLACK, locked
from tests.support.clients import Answer, arrivals, percentile
from tests.support.lengths import length
from tests.support.waiting import wait_until

LOCK = length(12, 60)
#: Requests that come in each second. More than 50 wait at once.
RATE = 50.0
#: Threads that may come to those that are accounted for.
MORE_THREADS = 8
#: Lines of trouble in the log, however many requests there are.
MOST_LINES = 10
#: Seconds of CPU that each get_urls() takes; there are two languages.
BUSY = 3.0
#: Seconds until a change is noticed.
NOTICED = 3.0


def start(start_on: Callable[..., Fleet], database: Database, **kwargs: object) -> Fleet:
    env = {**ROUTES, **kwargs.pop("env", {})}  # type: ignore[dict-item]
    fleet = start_on(database, workers=1, env=env, urlreload=ROUTES_SETTING, **kwargs)
    fleet.ping()
    wait_until(lambda: "Push:" in fleet.log, 30, "the worker to listen")
    return fleet


class Threads:
    """The most threads that a process has had."""

    def __init__(self, pid: int) -> None:
        self._tasks = Path(f"/proc/{pid}/task")
        self.most = 0

    @contextmanager
    def watched(self) -> Iterator[None]:
        stop = threading.Event()

        def watch() -> None:
            while not stop.wait(0.02):
                self.most = max(self.most, len(list(self._tasks.iterdir())))

        watcher = threading.Thread(target=watch, name="watcher")
        watcher.start()
        try:
            yield
        finally:
            stop.set()
            watcher.join(10)


def test_waiters_under_asgi__take_no_thread_and_no_line(
    routes_database: Database, start_on: Callable[..., Fleet]
) -> None:
    """Django's handler has a thread for each request that is open. So there may be as many as
    there can be requests within the deadline, and a few; not more the longer the lock lasts."""
    settings = {"DJANGO_SETTINGS_MODULE": "tests.e2e.alone_settings"}
    fleet = start(start_on, routes_database, server="uvicorn", env=settings)
    [worker] = fleet.workers

    def ask(threads: Threads, seconds: float) -> list[Answer]:
        with threads.watched():
            return arrivals(fleet.site.address, "/aping/", rate=RATE, seconds=seconds)

    without, during = Threads(worker.pid), Threads(worker.pid)
    control = ask(without, 3)
    lines_before = len(trouble(fleet))
    with locked(routes_database, "cms_pageurl", "unlocked"):
        routes_database.notify()
        answers = ask(during, LOCK)
    lines = trouble(fleet)[lines_before:]
    slowest, longest = percentile(answers, 1), REFRESH_TIMEOUT + SLACK + percentile(control, 1)
    open_at_once = int(RATE * longest)
    print(
        f"{len(answers)} answers, slowest {slowest:.2f} s; {without.most} threads, then "
        f"{during.most}; {len(lines)} lines: {lines[:5]}"
    )
    assert during.most <= without.most + open_at_once + MORE_THREADS
    assert len(lines) <= MOST_LINES
    assert {answer.status for answer in answers} == {200}
    assert slowest < longest
    wait_for_news(fleet, "unlocked", 20)


def trouble(fleet: Fleet) -> list[str]:
    return re.findall(r"^.* (?:WARNING|ERROR|CRITICAL) .*$", fleet.log, re.M)


def test_a_get_urls_that_asks_its_own_site__ends(
    routes_database: Database, start_on: Callable[..., Fleet], tmp_path: Path
) -> None:
    address = tmp_path / "address"
    env = {"ROUTES_ADDRESS": str(address)}
    fleet = start(start_on, routes_database, worker_class="gthread", threads=4, env=env)
    address.write_text(f"{fleet.site.address}/ping/")
    routes_database.sql("UPDATE sections_section SET slug = 'asked'")
    routes_database.move_and_notify("news", "asked")
    began = time.monotonic()
    # It asks once for each language, and is answered when its own refresh has run for too long.
    bound = 2 * (REFRESH_TIMEOUT + SLACK) + NOTICED
    wait_for_news(fleet, "asked", bound)
    took = time.monotonic() - began
    print(f"followed after {took:.1f} s")
    assert took < bound
    assert fleet.served("routes:row")["en"][2] == {"words": ["asked"]}
    address.unlink()
    routes_database.move_and_notify("news", "asked-no-more")
    wait_for_news(fleet, "asked-no-more", NOTICED + REFRESH_TIMEOUT)


def test_a_second_change_after_a_long_build__waits_for_builds_only(
    routes_database: Database, start_on: Callable[..., Fleet]
) -> None:
    env = {"ROUTES_BUSY": str(BUSY)}
    fleet = start(start_on, routes_database, worker_class="gthread", threads=4, env=env)
    times = []
    for number in range(3):
        routes_database.move_and_notify("news", f"change-{number}")
        began = time.monotonic()
        wait_for_news(fleet, f"change-{number}", 60)
        times.append(time.monotonic() - began)
    print(f"followed after {[round(each, 1) for each in times]} s")
    build, *others = times
    assert max(others) < 2 * build + NOTICED


def wait_for_news(fleet: Fleet, path: str, timeout: float) -> None:
    def served() -> str:
        return str(fleet.served("news:story-list")["en"][0])

    wait_until(lambda: served() == f"/en/{path}/", timeout, lambda: f"{path}: {served()}")
