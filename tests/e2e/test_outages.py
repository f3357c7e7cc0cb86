"""The server goes, or the way to it: the workers poll meanwhile, come back to push by themselves,
and none of them ends stale. Requests are answered as far as Django itself can.
"""

from __future__ import annotations

import contextlib
import os
import random
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import groupby
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import psycopg
import pytest
from psycopg import sql

from tests.e2e.conftest import ModeLine
from tests.e2e.lines import move_by_sql
from tests.support.postgres import PostgresServer
from tests.support.proxy import Proxy
from tests.support.waiting import wait_until

#: No heartbeat finds what a listener missed.
NO_HEARTBEAT = {"HEARTBEAT_INTERVAL": 600}
TERMINATIONS = 50
STORY = "/en/{}/first-story/"


@pytest.fixture
def proxy(database: Any) -> Iterator[Proxy]:
    parts = urlsplit(database.dsn)
    with Proxy(parts.hostname or "", parts.port or 0) as proxy:
        yield proxy


def through(proxy: Proxy, database: Any) -> str:
    parts = urlsplit(database.dsn)
    user = parts.netloc.rpartition("@")[0]
    return str(parts._replace(netloc=f"{user}@127.0.0.1:{proxy.port}").geturl())


def settle(fleet: Any) -> None:
    """Have all workers listen, and current."""
    fleet.ping()
    fleet.wait_for_push()


def check_push(fleet: Any, path: str) -> None:
    """A change that only its notification can tell of arrives on each worker."""
    fleet.wait_for_push()
    fleet.database.move_and_notify("news", path)
    fleet.wait_for(STORY.format(path), timeout=10)


@contextlib.contextmanager
def requests_going_on(fleet: Any, *paths: str) -> Iterator[dict[str, Counter[int]]]:
    """Ask each worker for each path, again and again; count the answers."""
    answers: dict[str, Counter[int]] = {path: Counter() for path in paths}
    stop = threading.Event()

    def ask(path: str) -> None:
        while not stop.wait(0.1):
            answers[path].update(fleet.statuses(path))

    with ThreadPoolExecutor(len(paths)) as pool:
        asked = [pool.submit(ask, path) for path in paths]
        try:
            yield answers
        finally:
            stop.set()
        for each in asked:
            each.result(60)


# --- a listener, or the way to the server ---------------------------------------------------------


def test_a_listener_that_is_cut_off__is_polled_for__and_comes_back(
    start: Any, database: Any, proxy: Proxy
) -> None:
    """PostgreSQL is there, and only the listeners cannot reach it."""
    fleet = start(workers=2, urlreload={"LISTEN_DSN": through(proxy, database)})
    settle(fleet)
    proxy.refuses = True
    proxy.cut()
    fleet.wait_for_poll()
    database.move("news", "while-away")
    fleet.wait_for(STORY.format("while-away"), timeout=5)
    assert fleet.statuses(STORY.format("news")) == [404, 404]
    assert database.fleet() == []

    proxy.refuses = False
    wait_until(lambda: len(database.fleet()) == 2, 60, "both to listen again")
    check_push(fleet, "back-again")


def test_a_black_hole__is_found_by_the_heartbeats_deadline__and_polled_around(
    start: Any, database: Any, proxy: Proxy
) -> None:
    """What is sent is acknowledged and lost, as behind a firewall that forgot the connection:
    nothing but a deadline of our own can tell."""
    interval, timeout = 1.0, 1.5
    fleet = start(
        workers=2,
        urlreload={
            "LISTEN_DSN": through(proxy, database),
            "HEARTBEAT_INTERVAL": interval,
            "HEARTBEAT_TIMEOUT": timeout,
            "CONNECT_TIMEOUT": 2,
        },
    )
    settle(fleet)
    proxy.drops = True
    dropped = time.time()
    database.move_and_notify("news", "in-the-dark")  # the notification is lost
    fleet.wait_for_poll()
    found = [line.at - dropped for line in fleet.mode_lines() if line.mode == "poll"]
    print(f"found after {[round(after, 1) for after in found]} s of {interval + timeout:g}")
    assert max(found[:2]) < interval + timeout + 2  # seconds for a machine that is busy
    assert "no answer" in fleet.log
    fleet.wait_for(STORY.format("in-the-dark"), timeout=5)
    # Not once but for as long as it lasts: a new connection goes into the same hole.
    database.move("news", "in-the-dark-still")
    fleet.wait_for(STORY.format("in-the-dark-still"), timeout=5)
    assert fleet.polling() == {worker.pid for worker in fleet.workers}

    proxy.drops = False
    wait_until(lambda: not fleet.polling(), 60, "both to listen again")
    check_push(fleet, "in-the-light")


@contextlib.contextmanager
def stopped(fleet: Any, tmp_path: Path) -> Iterator[None]:
    """The only worker is stopped, as a paused machine is."""
    os.kill(fleet.workers[0].pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(fleet.workers[0].pid, signal.SIGCONT)


@contextlib.contextmanager
def in_a_c_call(fleet: Any, tmp_path: Path) -> Iterator[None]:
    """All threads of the only worker wait for a request that keeps the GIL."""
    begun, end = tmp_path / "begun", tmp_path / "end"
    os.mkfifo(end)
    command = quote(f"touch {begun}; cat {end}")
    with ThreadPoolExecutor(1) as pool:
        asked = pool.submit(fleet.statuses, f"/controls/stand-still/?command={command}")
        try:
            wait_until(begun.exists, 10, "the call")
            yield
        finally:
            end.write_text("")
        assert asked.result(30) == [200]


@pytest.mark.parametrize("standing_still", [stopped, in_a_c_call])
def test_a_worker_that_stands_still__does_not_rely_on_an_old_answer(
    standing_still: Any, start: Any, database: Any, proxy: Proxy, tmp_path: Path
) -> None:
    """The answer to its heartbeat lies in the socket when it goes on, and the path has died
    meanwhile."""
    interval, timeout = 4.0, 2.0
    fleet = start(
        workers=1,
        urlreload={
            "LISTEN_DSN": through(proxy, database),
            "HEARTBEAT_INTERVAL": interval,
            "HEARTBEAT_TIMEOUT": timeout,
        },
    )
    settle(fleet)
    with contextlib.ExitStack() as stack:
        gate = stack.enter_context(proxy.hold(1))
        wait_until(lambda: gate.is_holding, interval + 5, "a heartbeat")
        stack.enter_context(standing_still(fleet, tmp_path))
        lapsed = time.monotonic() + interval + timeout + 2
        answers = proxy.answers
        gate.release()
        wait_until(lambda: proxy.answers > answers, 5, "its answer")
        proxy.drops = True
        database.move_and_notify("news", "meanwhile")
        wait_until(lambda: time.monotonic() > lapsed, 20, "the end of the lease")
    gone_on = time.monotonic()
    wait_until(
        lambda: fleet.polling() or time.monotonic() > gone_on + 1, 5, "the listener to go on"
    )
    assert fleet.statuses(STORY.format("meanwhile")) == [200]
    assert fleet.statuses(STORY.format("news")) == [404]
    assert fleet.polling()
    proxy.drops = False
    wait_until(lambda: not fleet.polling(), 60, "it to listen again")
    check_push(fleet, "back-again")


def test_listeners_that_are_terminated__miss_nothing(start: Any, database: Any) -> None:
    fleet = start(workers=2, urlreload=NO_HEARTBEAT)
    settle(fleet)
    for number in range(3):
        assert database.terminate_listeners() == 2
        database.move_and_notify("news", f"news-{number}")  # to nobody
        fleet.wait_for(STORY.format(f"news-{number}"), timeout=10)
        wait_until(lambda: len(database.fleet()) == 2, 30, "both to listen again")
    fleet.wait_for_push()


def test_a_change_between_the_loss_and_the_new_listen__is_found_by_the_look_after_it(
    start: Any, database: Any
) -> None:
    """With a poll so rare that it cannot be what finds it."""
    fleet = start(workers=2, urlreload={**NO_HEARTBEAT, "POLL_INTERVAL": 600})
    settle(fleet)
    for number in range(3):
        assert database.terminate_listeners() == 2
        fleet.wait_for_poll()
        fleet.ping()  # the one look that comes with the loss
        database.move_and_notify("news", f"between-{number}")  # to nobody
        wait_until(lambda: not fleet.polling(), 30, "both to listen again")
        fleet.wait_for(STORY.format(f"between-{number}"), timeout=5)
        assert fleet.statuses(STORY.format("news")) == [404, 404]


def test_listeners_terminated_50_times_at_random_moments__leave_no_worker_stale(
    start: Any, database: Any
) -> None:
    """Of a run with changes, announced by triggers and otherwise, and with requests going on. No
    heartbeat helps."""
    seed = random.getrandbits(32)
    fleet = start(workers=4, urlreload=NO_HEARTBEAT)
    settle(fleet)
    done = threading.Event()
    late = []
    with ThreadPoolExecutor(1) as pool, requests_going_on(fleet, "/en/events/sprint/") as answers:
        terminating = pool.submit(terminate_at_random, database, random.Random(seed), done)
        try:
            number, pauses = 0, random.Random(seed + 1)
            while not done.wait(pauses.uniform(0, 0.2)):
                number += 1
                change = move_by_sql if number % 2 else type(database).move_and_notify
                change(database, "news", f"news-{number}")
                changed = time.monotonic()
                if pauses.random() < 0.5:  # else the next one comes while some are still behind
                    fleet.wait_for(STORY.format(f"news-{number}"), timeout=10)
                    late.append(time.monotonic() - changed)
        finally:
            done.set()
        terminated = terminating.result(60)
        fleet.wait_for_push()
        assert set(fleet.statuses(STORY.format(f"news-{number}"))) == {200}
        assert set(fleet.statuses(STORY.format(f"news-{number - 1}"))) == {404}
    assert set(answers["/en/events/sprint/"]) == {200}
    away = times_away(fleet.mode_lines(), terminated)
    lasted = sorted(seconds for seconds, _ in away)
    print(
        f"seed {seed}: {number} changes, on all workers after {max(late):.2f} s at most; "
        f"{len(away)} times away, for {lasted[0]:.1f} to {lasted[-1]:.1f} s, half of them for "
        f"{lasted[len(lasted) // 2]:.1f} s at most; {dict(answers)}"
    )
    assert len(terminated) == TERMINATIONS
    for seconds, failures in away:
        # Seconds for connecting, on a machine that is busy, come to the back-off.
        assert seconds < sum(min(30, 2**n) for n in range(failures)) + 5 * failures
    assert fleet.polling() == set()


def terminate_at_random(
    database: Any, moments: random.Random, done: threading.Event
) -> list[tuple[float, int]]:
    """End one listener after the other, also while others are away, or before it has heard
    anything; return when, and of which worker."""
    terminated: list[tuple[float, int]] = []
    try:
        with psycopg.connect(database.dsn, autocommit=True) as connection:
            while len(terminated) < TERMINATIONS and not done.wait(moments.uniform(0, 0.6)):
                if backends := listening(connection):
                    chosen = moments.choice(list(backends))
                    terminated.append((time.time(), backends[chosen]))
                    connection.execute("SELECT pg_terminate_backend(%s)", [chosen])
    finally:
        done.set()
    return terminated


def listening(connection: psycopg.Connection) -> dict[int, int]:
    """The server's processes that belong to listeners, and the worker of each."""
    rows = connection.execute(
        "SELECT pid, application_name FROM pg_stat_activity WHERE datname = current_database() "
        "AND application_name LIKE 'cms-urlreload %' ORDER BY pid"
    )
    return {pid: int(name.split()[2].partition("@")[0]) for pid, name in rows}


def times_away(
    lines: list[ModeLine], terminated: list[tuple[float, int]]
) -> list[tuple[float, int]]:
    """The seconds of each stretch that a worker polled, and the terminations that it had before it
    was back, from the first on."""
    found = []
    for pid in {line.pid for line in lines}:
        own = [line for line in lines if line.pid == pid]
        # A second reason for the same trouble is told, too.
        turns = [next(same) for _, same in groupby(own, key=lambda line: line.mode)]
        assert [turn.mode for turn in turns[::2]] == ["push"] * len(turns[::2])
        assert len(turns) % 2 == 1, f"worker {pid} never came back: {turns[-1]}"
        for before, lost, back in zip(turns[::2], turns[1::2], turns[2::2], strict=False):
            failures = [
                at for at, worker in terminated if worker == pid and before.at < at < back.at
            ]
            found.append((back.at - lost.at, max(1, len(failures))))
    return found


# --- the server -----------------------------------------------------------------------------------


def check_while_away(fleet: Any, seconds: float) -> None:
    """For a time, all that needs no database is answered, with the last good URLs."""
    slowest = 0.0
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        for worker in fleet.workers:
            answer = fleet.site.get("/ping/", worker=worker)
            assert answer.status == 200
            slowest = max(slowest, answer.seconds)
        assert set(fleet.reverse("news:story-list")) == {"/en/news/"}
    print(f"slowest answer meanwhile: {slowest * 1000:.0f} ms")


def test_a_server_that_is_restarted__finds_all_workers_again(
    start_own: Any, own_server: PostgresServer, own_database: Any
) -> None:
    fleet = start_own(workers=2)
    settle(fleet)
    own_server.stop()
    fleet.wait_for_poll()
    check_while_away(fleet, 0.5)
    own_server.start()
    own_database.move("news", "after-restart")
    fleet.wait_for(STORY.format("after-restart"), timeout=15)
    wait_until(lambda: not fleet.polling(), 60, "both to listen again")
    check_push(fleet, "pushed-again")


def test_a_server_that_is_stopped_for_10_seconds__finds_all_workers_again(
    start_own: Any, own_server: PostgresServer, own_database: Any
) -> None:
    fleet = start_own(workers=2)
    settle(fleet)
    own_server.kill()  # a crash: it has to recover
    fleet.wait_for_poll()
    check_while_away(fleet, 10)
    own_server.start()
    own_database.move("news", "meanwhile")
    started = time.monotonic()
    fleet.wait_for(STORY.format("meanwhile"), timeout=30)
    print(f"a change is seen {time.monotonic() - started:.1f} s after the server's return")
    wait_until(lambda: not fleet.polling(), 60, "both to listen again")
    print(f"both push {time.monotonic() - started:.1f} s after it")
    check_push(fleet, "pushed-again")
    # Told once for each reason, and not for each attempt.
    assert len(fleet.mode_lines()) < 2 * 6


def test_a_server_that_is_started_only_after_the_workers__is_found(
    start_own: Any, own_server: PostgresServer, own_database: Any
) -> None:
    """What comes after our middleware asks for the site, and fails as it does without us."""
    own_server.stop()
    fleet = start_own(workers=2, env={"DJANGO_SETTINGS_MODULE": "tests.e2e.server_settings"})
    for _ in range(10):
        assert fleet.statuses("/controls/alive/") == [200, 200]
    fleet.wait_for_poll()
    own_server.start()
    own_database.move("news", "meanwhile")
    fleet.wait_for(STORY.format("meanwhile"), timeout=30)
    assert fleet.reverse("events:event-list") == ["/en/events/"] * 2
    wait_until(lambda: not fleet.polling(), 60, "both to listen again")
    check_push(fleet, "pushed")


def test_a_server_without_a_free_connection__keeps_serving_those_that_are_there(
    start_own: Any, own_server: PostgresServer, own_database: Any
) -> None:
    fleet = start_own(workers=2)
    settle(fleet)
    assert fleet.statuses(STORY.format("news")) == [200, 200]  # each has its connection now
    with (
        psycopg.connect(own_database.dsn, autocommit=True) as own,
        all_connections_taken(own_server.dsn()) as take,
        requests_going_on(fleet, "/en/events/sprint/") as answers,
    ):
        for backend in listening(own):
            own.execute("SELECT pg_terminate_backend(%s, 5000)", [backend])
            take()  # what it has left, before its worker comes back for it
        wait_until(lambda: "too many clients" in fleet.log, 20, "a worker that finds none")
        fleet.wait_for_poll()
        assert not listening(own)
        own.execute("UPDATE cms_pageurl SET path = 'full-house' WHERE path = 'news'")
        fleet.wait_for(STORY.format("full-house"), timeout=5)
    assert set(answers["/en/events/sprint/"]) == {200}
    wait_until(lambda: not fleet.polling(), 60, "both to listen again")
    check_push(fleet, "room-again")


@contextlib.contextmanager
def all_connections_taken(dsn: str) -> Iterator[Callable[[], None]]:
    """Take all connections that a server has to give; the function takes those that come free."""
    with contextlib.ExitStack() as stack:

        def take() -> None:
            while True:
                try:
                    connection = psycopg.connect(dsn, autocommit=True)
                except psycopg.OperationalError:
                    return
                stack.callback(connection.close)

        take()
        yield take


# --- the role and the database --------------------------------------------------------------------


class ListenerRole:
    """A role of the listeners' own; it may log in, and read what decides routing."""

    def __init__(self, database: Any, name: str) -> None:
        self.name = name
        self._database = database
        self._do("CREATE ROLE {name} LOGIN")
        self._do("GRANT SELECT ON ALL TABLES IN SCHEMA public TO {name}")

    def set_password(self, password: str) -> str:
        """Set it; return the address with it."""
        self._do("ALTER ROLE {name} PASSWORD {password}", password=sql.Literal(password))
        parts = urlsplit(self._database.dsn)
        place = parts.netloc.rpartition("@")[2]
        return str(parts._replace(netloc=f"{self.name}:{password}@{place}").geturl())

    def end_sessions_when_idle(self, timeout: str) -> None:
        self._do("ALTER ROLE {name} SET idle_session_timeout = {t}", t=sql.Literal(timeout))

    def drop(self) -> None:
        self._do("DROP OWNED BY {name}")
        self._do("DROP ROLE {name}")

    def _do(self, statement: str, **parts: sql.Composable) -> None:
        name = sql.Identifier(self.name)
        with psycopg.connect(self._database.dsn, autocommit=True) as connection:
            connection.execute(sql.SQL(statement).format(name=name, **parts))


@pytest.fixture
def role(database: Any) -> Iterator[ListenerRole]:
    """Gone before the database is."""
    role = ListenerRole(database, f"listener_{random.getrandbits(32):x}")
    yield role
    database.terminate_listeners()
    role.drop()


def test_an_idle_session_timeout__ends_no_listener(
    start: Any, database: Any, role: ListenerRole
) -> None:
    dsn = role.set_password("open sesame".replace(" ", "-"))
    role.end_sessions_when_idle("2s")
    fleet = start(workers=2, urlreload={**NO_HEARTBEAT, "LISTEN_DSN": dsn})
    settle(fleet)
    with psycopg.connect(database.dsn, autocommit=True) as own:
        before = listening(own)
        for _ in range(2):  # the second one long after the listeners' own time is over
            with psycopg.connect(dsn, autocommit=True) as other:
                pid = other.info.backend_pid
                wait_until(lambda: is_ended(own, pid), 20, "the timeout of another")  # noqa: B023
        assert listening(own) == before
    assert fleet.polling() == set()
    check_push(fleet, "not-asleep")
    assert not [line for line in fleet.mode_lines() if line.mode == "poll"]


def is_ended(own: psycopg.Connection, pid: int) -> bool:
    found = own.execute("SELECT 1 FROM pg_stat_activity WHERE pid = %s", [pid]).fetchone()
    return found is None


def test_a_password_that_changes__and_then_is_right_again(
    start: Any, database: Any, role: ListenerRole
) -> None:
    dsn = role.set_password("right-password")
    fleet = start(workers=2, urlreload={"LISTEN_DSN": dsn})
    settle(fleet)
    role.set_password("another-password")
    assert database.terminate_listeners() == 2
    wait_until(lambda: "password authentication failed" in fleet.log, 20, "a refusal")
    fleet.wait_for_poll()
    database.move("news", "locked-out")
    fleet.wait_for(STORY.format("locked-out"), timeout=5)

    role.set_password("right-password")
    wait_until(lambda: not fleet.polling(), 60, "both to listen again")
    check_push(fleet, "let-in")
    assert "right-password" not in fleet.log


def test_a_database_that_refuses_connections_for_a_while__finds_all_workers_again(
    start: Any, database: Any, postgres: Any
) -> None:
    fleet = start(workers=2)
    settle(fleet)
    name = sql.Identifier(urlsplit(database.dsn).path[1:])
    allow = sql.SQL("ALTER DATABASE {} ALLOW_CONNECTIONS {}")
    with psycopg.connect(postgres.dsn(), autocommit=True) as outside:
        outside.execute(allow.format(name, sql.SQL("false")))
        outside.execute(
            "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE datname = %s",
            [urlsplit(database.dsn).path[1:]],
        )
        fleet.wait_for_poll()
        check_while_away(fleet, 2)
        wait_until(lambda: "not currently accepting" in fleet.log, 20, "the reason in the log")
        outside.execute(allow.format(name, sql.SQL("true")))
    database.move("news", "meanwhile")
    fleet.wait_for(STORY.format("meanwhile"), timeout=30)
    wait_until(lambda: not fleet.polling(), 60, "both to listen again")
    check_push(fleet, "open-again")
