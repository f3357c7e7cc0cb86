"""No look at the database that this package adds holds a request for longer than REFRESH_TIMEOUT.

A view that asks the database nothing is asked all the time, by a few clients, while a table is
locked, the server says nothing, or a connection has died without a word. Next to the site, the same
clients ask a control: the same server and view, without this package. What the control takes is
what the machine takes at that time, and is allowed on top of each bound.

The faults last some seconds; with CMS_URLRELOAD_TEST_FULL=1, 60 and 75.
"""

from __future__ import annotations

import contextlib
import json
import math
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psycopg
import pytest

from tests.demo.editor import ADMIN, Editor
from tests.demo.site import DemoSite
from tests.e2e.conftest import ROUTES, ROUTES_SETTING, Database, Fleet, attach_routes
from tests.e2e.test_snapshot import MariaDatabase
from tests.support import mariadb
from tests.support.clients import Answer, Clients, percentile
from tests.support.lengths import FULL, length
from tests.support.mariadb import MariaDBServer
from tests.support.proxy import Proxy
from tests.support.waiting import wait_until

#: The default of the setting, and what is allowed to come to it.
REFRESH_TIMEOUT, SLACK = 2.0, 0.5
#: In which 99 % of the answers must be there.
QUICK = 0.05
FAULT = length(8, 60)
HALF_OPEN = length(8, 75)
VARIANT = length(6, 60)
#: Seconds after the fault in which each process must be current again: the longest back-off, one
#: more attempt, and what a busy machine needs.
BOUND = 10 + REFRESH_TIMEOUT + 5
#: And listen again: the listener's longest back-off.
PUSH_BOUND = 60
#: Seconds in which a change must be followed although a connection is dead: one refresh that finds
#: that out, the back-off after it, and one more.
FOLLOW_BOUND = 2 * (REFRESH_TIMEOUT + SLACK) + 3

SERVERS: dict[str, dict[str, Any]] = {
    "sync": {"workers": 2},
    "gthread": {"workers": 1, "worker_class": "gthread", "threads": 4},
    "uvicorn": {"workers": 1, "server": "uvicorn"},
}
EACH_SERVER = pytest.mark.parametrize("server", SERVERS)
NEWS = "news:story-list"


class Trial:
    """A site, its control, and clients that ask both."""

    def __init__(self, fleet: Fleet, control: DemoSite, path: str = "/ping/") -> None:
        self.fleet = fleet
        self._control = control
        self._path = path

    @contextlib.contextmanager
    def clients(self, *, others: bool = False) -> Iterator[Clients]:
        """Ask all the time; afterwards, hold the answers to the contract.

        ``others``: somebody else keeps the site's workers busy, and not the control's; so it is not
        counted how many answers are less than quick.
        """
        addresses = {"ours": self.fleet.site.address, "control": self._control.address}
        began = time.monotonic()
        with Clients(addresses, self._path) as clients:
            yield clients
        check(clients, time.monotonic() - began, count_slow=not others)

    def paths(self) -> set[str]:
        """Where each worker has the news."""
        workers = self.fleet.workers
        return {str(self.fleet.served(NEWS, worker)["en"][0]) for worker in workers}

    def wait_for(self, path: str, timeout: float) -> None:
        wait_until(
            lambda: self.paths() == {f"/en/{path}/"}, timeout, lambda: f"{path}: {self.paths()}"
        )

    def recover(self, path: str) -> None:
        """After the fault, each worker serves what was committed meanwhile, and listens."""
        self.wait_for(path, BOUND)
        wait_until(lambda: not self.fleet.polling(), PUSH_BOUND, "all to listen again")
        # By push, and nothing else: no poll is due, and the heartbeat is not waited for.
        self.fleet.database.move_and_notify("news", f"{path}-pushed")
        self.wait_for(f"{path}-pushed", 10)


def check(clients: Clients, seconds: float, *, count_slow: bool) -> None:
    ours, control = clients.answers["ours"], clients.answers["control"]
    quick = QUICK + percentile(control, 0.99)
    longest = REFRESH_TIMEOUT + SLACK + percentile(control, 1)
    slow = [answer for answer in ours if answer.seconds > quick]
    # In a short run there are too few answers for a percentage: there, each client may be caught
    # once by each refresh that runs into its deadline, as many as there is time for.
    caught = clients.number * math.ceil(seconds / (REFRESH_TIMEOUT + SLACK))
    allowed = len(ours) // 100 if FULL else max(len(ours) // 100, caught)
    print(
        f"{len(ours)} answers, slowest {show(ours)}; control {len(control)}, slowest "
        f"{show(control)}; {len(slow)} took longer than {quick * 1000:.0f} ms, {allowed} may"
    )
    statuses, slowest, caught_in_fact = {a.status for a in ours}, percentile(ours, 1), len(slow)
    assert statuses == {200}, failed(ours)
    assert slowest < longest
    assert caught_in_fact <= allowed or not count_slow


def show(answers: list[Answer]) -> str:
    return ", ".join(f"{percentile(answers, share) * 1000:.0f} ms" for share in (1, 0.99, 0.5))


def failed(answers: list[Answer]) -> str:
    bad = [answer for answer in answers if answer.status != 200]
    return f"{len(bad)} of {len(answers)} failed: {bad[:3]}"


@pytest.fixture
def trial(
    routes_database: Database, start_on: Callable[..., Fleet], tmp_path: Path
) -> Iterator[Callable[..., Trial]]:
    """Start a site of this kind of server, and its control; all of its threads are warm, it
    listens, and is current."""
    with contextlib.ExitStack() as stack:

        def make(server: str, *, env: dict[str, str] | None = None, **kwargs: Any) -> Trial:
            control = stack.enter_context(start_control(routes_database.dsn, tmp_path, server))
            urlreload = {
                **ROUTES_SETTING,
                "HEARTBEAT_INTERVAL": 1,
                "HEARTBEAT_TIMEOUT": 1,
                "CONNECT_TIMEOUT": 2,
                **kwargs.pop("urlreload", {}),
            }
            env = {**ROUTES, **(env or {})}
            fleet = start_on(
                routes_database, urlreload=urlreload, env=env, **SERVERS[server], **kwargs
            )
            warm_up(fleet.site)
            wait_until(lambda: len(fleet.mode_lines()) >= len(fleet.workers), 20, "a listener")
            wait_until(lambda: not fleet.polling(), 20, "all to listen")
            return Trial(fleet, control)

        yield make


def start_control(url: str, tmp_path: Path, server: str) -> contextlib.AbstractContextManager[Any]:
    @contextlib.contextmanager
    def started() -> Iterator[DemoSite]:
        folder = tmp_path / "control"
        folder.mkdir()
        env = {**ROUTES, "DEMO_RELOAD": "none"}
        with DemoSite(url, folder, prepare=False, env=env, **SERVERS[server]) as site:
            warm_up(site)
            yield site

    return started()


def warm_up(site: DemoSite) -> None:
    """Have each thread do what only its first request does, and open its connection."""
    with ThreadPoolExecutor(8) as pool:
        answers = [pool.submit(site.get, "/en/events/sprint/") for _ in range(48)]
    assert {answer.result().status for answer in answers} == {200}


def let_pass(seconds: float) -> None:
    """A fault lasts."""
    threading.Event().wait(seconds)


@contextlib.contextmanager
def locked(database: Database, table: str, path: str) -> Iterator[None]:
    """A table is locked; the transaction that does it moves the news as well."""
    with psycopg.connect(database.dsn) as connection:
        connection.execute(f"LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE".encode())
        yield
        connection.execute(
            "UPDATE cms_pageurl SET path = %s WHERE page_id = %s AND language = 'en'",
            (path, database.pages["news"]["id"]),
        )


def through(proxy: Proxy, database: Database) -> str:
    parts = urlsplit(database.dsn)
    user = parts.netloc.rpartition("@")[0]
    return parts._replace(netloc=f"{user}@127.0.0.1:{proxy.port}").geturl()


@pytest.fixture
def proxy(routes_database: Database) -> Iterator[Proxy]:
    parts = urlsplit(routes_database.dsn)
    with Proxy(parts.hostname or "", parts.port or 0) as proxy:
        yield proxy


# --- the three faults -----------------------------------------------------------------------------


@EACH_SERVER
def test_a_locked_table__holds_no_request(
    server: str, trial: Callable[..., Trial], routes_database: Database
) -> None:
    run = trial(server)
    with run.clients():
        with locked(routes_database, "cms_pageurl", "unlocked"):
            routes_database.notify()
            let_pass(FAULT)
        run.recover("unlocked")


@EACH_SERVER
def test_a_silent_database__holds_no_request(
    server: str, trial: Callable[..., Trial], routes_database: Database, proxy: Proxy
) -> None:
    """It acknowledges what it is sent, on every connection, and answers nothing."""
    run = trial(server, dsn=through(proxy, routes_database))
    with run.clients():
        proxy.drops = True
        routes_database.move_and_notify("news", "in-silence")
        let_pass(FAULT)
        proxy.drops = False
        run.recover("in-silence")


@EACH_SERVER
def test_a_half_open_connection__holds_no_request(
    server: str, trial: Callable[..., Trial], routes_database: Database, proxy: Proxy
) -> None:
    """One persistent connection of a worker is dead, and the listener's is well."""
    direct = {"LISTEN_DSN": routes_database.dsn}
    env = {"DEMO_CONN_MAX_AGE": "600"}
    run = trial(server, dsn=through(proxy, routes_database), urlreload=direct, env=env)
    with run.clients():
        # Under ASGI, Django has another connection for each request.
        if server == "uvicorn":
            proxy.silences_next = 1
        else:
            proxy.silence()
        end, number = time.monotonic() + HALF_OPEN, 0
        while time.monotonic() < end:
            number += 1
            routes_database.move_and_notify("news", f"half-open-{number}")
            run.wait_for(f"half-open-{number}", FOLLOW_BOUND)
            let_pass(1)
        run.recover(f"half-open-{number}")


# --- other things that hold a look ----------------------------------------------------------------


@pytest.mark.parametrize("table", ["cms_page", "cms_urlconfrevision", "sections_section"])
def test_another_locked_table__holds_no_request(
    table: str, trial: Callable[..., Trial], routes_database: Database
) -> None:
    run = trial("gthread")
    with run.clients():
        with locked(routes_database, table, "unlocked"):
            routes_database.notify()
            let_pass(VARIANT)
        run.recover("unlocked")


def test_a_slow_query_of_get_urls__holds_no_request(
    trial: Callable[..., Trial], routes_database: Database, tmp_path: Path
) -> None:
    statement = tmp_path / "statement.sql"
    run = trial("gthread", env={"ROUTES_STATEMENT": str(statement)})
    with run.clients():
        statement.write_text("SELECT pg_sleep(600)")
        routes_database.sql("UPDATE sections_section SET slug = 'slow'")
        routes_database.move_and_notify("news", "slow")
        let_pass(VARIANT)
        statement.unlink()
        run.recover("slow")
    assert run.fleet.served("routes:row")["en"][2] == {"words": ["slow"]}


def test_a_commit_during_the_lock__is_answered(
    trial: Callable[..., Trial], routes_database: Database
) -> None:
    """An editor saves a row that get_urls() reads, while no look can succeed."""
    run = trial("sync")
    about = str(routes_database.pages["about"]["id"])
    editor = Editor(run.fleet.site, run.fleet.workers[0])
    add = f"{ADMIN}/sections/section/add/"
    before = seconds(lambda: editor.submit(add, {"slug": "before", "note": about}))
    during = []
    with run.clients(others=True):
        with locked(routes_database, "cms_pageurl", "unlocked"):
            for slug in ("during", "during-still"):
                row = {"slug": slug, "note": about}
                during.append(seconds(lambda: editor.submit(add, row)))  # noqa: B023
            print(f"{before:.2f} s before, {during} s during the lock")
            let_pass(VARIANT)
        run.recover("unlocked")
    # The form and its answer are two requests.
    assert max(during) < before + 2 * (REFRESH_TIMEOUT + SLACK)
    for worker in run.fleet.workers:
        served = run.fleet.served("routes:row", worker)["en"]
        assert served[2] == {"words": ["a", "before", "during", "during-still"]}


def seconds(act: Callable[[], object]) -> float:
    began = time.monotonic()
    act()
    return time.monotonic() - began


@EACH_SERVER
def test_a_process_that_starts_during_the_lock__says_so(
    server: str, routes_database: Database, start_on: Callable[..., Fleet]
) -> None:
    """It has no URLs yet. Nothing else of the site is held up, and it becomes right by itself."""
    with locked(routes_database, "cms_pageurl", "unlocked"):
        urlreload = {**ROUTES_SETTING, "HEARTBEAT_INTERVAL": 1, "HEARTBEAT_TIMEOUT": 1}
        fleet = start_on(routes_database, urlreload=urlreload, env=ROUTES, **SERVERS[server])
        for _ in range(3):
            for path, status in (("/ping/", 200), ("/en/news/first-story/", 503)):
                answers = [fleet.site.get(path, worker=worker) for worker in fleet.workers]
                assert {answer.status for answer in answers} == {status}, path
                # The first request has much to import.
                assert max(answer.seconds for answer in answers) < REFRESH_TIMEOUT + 5
                if status == 503:
                    assert "URL" in answers[0].text
    fleet.wait_for("/en/unlocked/first-story/", timeout=BOUND)
    fleet.wait_for("/en/news/first-story/", 404, timeout=BOUND)
    wait_until(lambda: not fleet.polling(), PUSH_BOUND, "all to listen")


# --- a database that is polled --------------------------------------------------------------------


@pytest.mark.mariadb
def test_a_silent_mariadb__holds_no_request(tmp_path: Path) -> None:
    if reason := mariadb.missing():
        pytest.skip(reason)
    env = {**ROUTES, "DEMO_CMS_URLRELOAD": json.dumps(ROUTES_SETTING)}
    (tmp_path / "site").mkdir()
    with MariaDBServer() as server, Proxy("127.0.0.1", server.port) as proxy:
        url = server.create_database("site")
        prepared = DemoSite(url, tmp_path / "site", env=env)
        prepared.prepare()
        database = MariaDatabase(server, "site", prepared.content)
        attach_routes(database)
        behind = url.replace(f":{server.port}/", f":{proxy.port}/")
        kind = SERVERS["gthread"]
        with (
            start_control(url, tmp_path, "gthread") as control,
            DemoSite(behind, tmp_path / "site", prepare=False, env=env, **kind) as site,
        ):
            warm_up(site)
            run = Trial(Fleet(site, database), control)
            with run.clients():
                proxy.drops = True
                database.move("news", "in-silence")
                let_pass(VARIANT)
                proxy.drops = False
                run.wait_for("in-silence", BOUND)
