"""The listener against a real server, and against real trouble between the two."""

from __future__ import annotations

import copy
import gc
import logging
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from cms.models import PageUrl
from django.db import connection, connections

from cms_urlreload.backoff import Backoff
from cms_urlreload.state import State, Token
from cms_urlreload_pg import listener as listener_module
from cms_urlreload_pg.address import application_name
from cms_urlreload_pg.probe import Probe
from cms_urlreload_pg.session import Session
from cms_urlreload_pg.transport import PostgresTransport
from tests.support.proxy import Proxy
from tests.support.waiting import wait_until

from .conftest import dsn

pytestmark = pytest.mark.django_db(transaction=True)

FAST = {"HEARTBEAT_INTERVAL": 0.2, "HEARTBEAT_TIMEOUT": 0.5}


@pytest.fixture
def sql() -> Iterator[Callable[..., list[Any]]]:
    """Execute a statement on a connection of somebody else's."""
    with psycopg.connect(dsn(), autocommit=True, client_encoding="UTF8") as other:
        # As a subscriber of a replication would write: no trigger fires.
        other.execute("SET session_replication_role = replica")

        def execute(statement: Any, *parameters: Any) -> list[Any]:
            cursor = other.execute(statement, parameters or None)
            return cursor.fetchall() if cursor.description else []

        yield execute


@pytest.fixture
def proxy() -> Iterator[Proxy]:
    parameters = connection.get_connection_params()
    with Proxy(parameters["host"], int(parameters["port"])) as proxy:
        yield proxy


class Worker:
    """A state and its transport; what a process is to the database."""

    def __init__(self) -> None:
        self.state = State()
        self.transport = PostgresTransport(self.state)

    def start(self) -> None:
        self.transport.ensure_started()
        self.wait_for_push()

    def wait_for_push(self) -> None:
        wait_until(lambda: self.vouches() and self.transport.is_healthy, 10, "a healthy listener")

    def vouches(self) -> bool:
        return self.state.lease_until > time.monotonic()

    def refresh(self) -> None:
        """As the reloader does, without its building."""
        marks = self.state.marks
        self.state.applied = self.transport.read_token("default")
        self.state.settle(marks)
        self.transport.refreshed(True)

    def settle(self) -> None:
        self.refresh()
        assert not self.state.dirty

    def wait_for_doubt(self) -> None:
        wait_until(lambda: self.state.dirty, 10, "the dirty flag")


@pytest.fixture
def start(settings: Any) -> Iterator[Callable[..., Worker]]:
    workers = []

    def make(**options: Any) -> Worker:
        settings.CMS_URLRELOAD = {"LISTEN": True, **options}
        workers.append(Worker())
        workers[-1].start()
        return workers[-1]

    yield make
    for worker in workers:
        worker.transport.stop()


def listeners(sql: Any) -> list[Any]:
    return [
        name
        for (name,) in sql(
            "SELECT application_name FROM pg_stat_activity "
            "WHERE application_name LIKE 'cms-urlreload %' AND datname = current_database()"
        )
    ]


def terminate(sql: Any) -> None:
    sql(
        "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity "
        "WHERE application_name LIKE 'cms-urlreload %' AND datname = current_database()"
    )


def test_listening_puts_the_urls_in_doubt_and_then_vouches(start: Any) -> None:
    worker = start()
    assert worker.state.dirty
    assert worker.state.lease_until - time.monotonic() > 10


def test_a_notification_puts_the_urls_in_doubt(start: Any, sql: Any) -> None:
    worker = start()
    worker.settle()
    sql("SELECT pg_notify('apphooks', 'from somebody else')")
    worker.wait_for_doubt()
    assert worker.transport.counters()["notifications"] == 1


def test_a_reload_that_a_person_asks_for__is_known_as_such_to_the_others(start: Any) -> None:
    here, there = start(), start()
    for reason, known in (("own", "announced"), ("asked", "asked")):
        here.settle()
        there.settle()
        here.transport.announce("default", reason)
        there.wait_for_doubt()
        assert there.state.reason == known
        assert not here.state.dirty


def test_it_is_unheard__from_the_loss_on__and_until_it_listens_again(
    start: Any, proxy: Proxy
) -> None:
    worker = start(LISTEN_DSN=dsn(host="127.0.0.1", port=proxy.port))
    unheard_for = worker.transport.unheard_for
    assert unheard_for(time.monotonic()) == 0.0
    proxy.refuses = True
    proxy.cut()
    lost = time.monotonic()
    wait_until(lambda: unheard_for(time.monotonic()), 5, "the loss to be seen")
    worker.state.put_off(lost + 100)  # what a poll does
    assert 100 <= (unheard_for(lost + 101) or 0) <= 102
    proxy.refuses = False
    worker.wait_for_push()
    assert unheard_for(time.monotonic()) == 0.0


def test_it_is_unheard__from_its_start_on(settings: Any, proxy: Proxy) -> None:
    settings.CMS_URLRELOAD = {
        "LISTEN": True,
        "LISTEN_DSN": dsn(host="127.0.0.1", port=proxy.port),
    }
    proxy.refuses = True
    worker = Worker()
    assert worker.transport.unheard_for(time.monotonic()) is None
    begun = time.monotonic()
    worker.transport.ensure_started()
    try:
        assert 99 <= (worker.transport.unheard_for(begun + 100) or 0) <= 100
    finally:
        worker.transport.stop()


def test_it_is_not_unheard__where_it_may_not_listen__on_purpose(settings: Any) -> None:
    settings.CMS_URLRELOAD = {"LISTEN": False}
    worker = Worker()
    worker.transport.ensure_started()
    worker.state.begin_to_hear(0.0)  # before the setting was changed, say
    assert worker.transport.unheard_for(1000.0) is None


@pytest.mark.parametrize("payload", ["", "x" * 7999, "\U0001f600" * 1900, "0-forged", "a\nb"])
def test_a_payload_may_be_anything(payload: str, start: Any, sql: Any) -> None:
    worker = start()
    worker.settle()
    sql("SELECT pg_notify('apphooks', %s)", payload)
    worker.wait_for_doubt()


@pytest.mark.parametrize("channel", ["AppHooks", 'a "quoted" one', "mit Umlaut ä", "x" * 63])
def test_a_channel_may_have_any_name(channel: str, start: Any, sql: Any) -> None:
    worker = start(CHANNEL=channel)
    worker.settle()
    sql("SELECT pg_notify(%s, '')", channel)
    worker.wait_for_doubt()


def test_a_notification_on_another_channel_is_none_of_ours(start: Any, sql: Any) -> None:
    worker = start()
    worker.settle()
    sql("SELECT pg_notify('other', '')")
    sql("SELECT pg_notify('AppHooks', '')")
    # One that is ours comes after them, so they have been read.
    sql("SELECT pg_notify('apphooks', '')")
    worker.wait_for_doubt()
    assert worker.transport.counters()["notifications"] == 1


def test_the_worker_is_seen_in_pg_stat_activity_with_what_it_serves(start: Any, sql: Any) -> None:
    worker = start()
    [fleet] = worker.transport.fleet()
    assert (fleet.pid, fleet.host) == (os.getpid(), socket.gethostname())
    assert (fleet.served, fleet.is_due) == (None, True)
    worker.settle()
    token = worker.state.applied
    wait_until(lambda: worker.transport.fleet()[0].is_current(token), 5, "the token")
    assert worker.transport.fleet()[0].knows(token)
    assert not worker.transport.fleet()[0].knows(Token("another", "one"))
    # It is shown within a second that a look has found nothing new.
    sql("SELECT pg_notify('apphooks', '')")
    wait_until(lambda: worker.transport.fleet()[0].is_due, 5, "the doubt to be shown")
    assert worker.transport.fleet()[0].knows(Token("another", "one"))
    worker.state.settle(worker.state.marks)
    worker.transport.refreshed(False)
    wait_until(lambda: not worker.transport.fleet()[0].is_due, 5, "its end to be shown")


@pytest.mark.parametrize("name", ["cms-urlreload", "cms-urlreload x", "cms-urlreload 1a x@y", ""])
def test_the_fleet_is_none_but_ours(start: Any, name: str) -> None:
    worker = start()
    with psycopg.connect(dsn(), application_name=name):
        assert [one.pid for one in worker.transport.fleet()] == [os.getpid()]


@pytest.mark.parametrize(
    ("host", "shown"),
    [
        ("web1", "web1"),
        ("h" * 34, "h" * 34),
        ("web1.a-very-long-name-of-a-cluster.example.com", "web1.a-very-long~uster.example.com"),
    ],
)
def test_application_name__leaves_out_the_middle_of_a_long_host(
    host: str, shown: str, monkeypatch: Any
) -> None:
    monkeypatch.setattr("socket.gethostname", lambda: host)
    monkeypatch.setattr("cms_urlreload_pg.address.getpid", lambda: 12345)
    name = application_name("cms-urlreload 1a2b3c4d")
    assert name == f"cms-urlreload 1a2b3c4d 12345@{shown}"
    assert len(name) <= 63


def test_a_heartbeat_extends_the_lease(start: Any) -> None:
    worker = start(**FAST)
    lease = worker.state.lease_until
    wait_until(lambda: worker.state.lease_until > lease, 5, "another lease")


def test_a_heartbeat_finds_what_nobody_announced(
    start: Any, sql: Any, make_page: Any, caplog: Any
) -> None:
    page = make_page("news", "NewsApphook")
    worker = start(**FAST)
    worker.settle()
    sql("UPDATE cms_pageurl SET path = 'elsewhere' WHERE page_id = %s", page.pk)
    worker.wait_for_doubt()
    wait_until(lambda: worker.transport.counters()["missed"] == 1, 5, "the change to be counted")
    assert "nobody had announced it" in caplog.text


def test_a_heartbeat_counts_no_change_that_was_announced(
    start: Any, sql: Any, make_page: Any
) -> None:
    page = make_page("news", "NewsApphook")
    worker = start(**FAST)
    worker.settle()
    sql("UPDATE cms_pageurl SET path = 'elsewhere' WHERE page_id = %s", page.pk)
    sql("SELECT pg_notify('apphooks', '')")
    worker.wait_for_doubt()
    beats = worker.transport.counters()["heartbeats"]
    wait_until(lambda: worker.transport.counters()["heartbeats"] > beats + 8, 10, "heartbeats")
    assert worker.transport.counters()["missed"] == 0


def test_a_heartbeat_counts_no_change_that_was_announced__when_a_replica_lags(
    start: Any, sql: Any, make_page: Any
) -> None:
    page = make_page("news", "NewsApphook")
    worker = start(**FAST)
    worker.settle()
    sql("UPDATE cms_pageurl SET path = 'elsewhere' WHERE page_id = %s", page.pk)
    sql("SELECT pg_notify('apphooks', '')")
    worker.wait_for_doubt()
    for _ in range(3):
        worker.state.settle(worker.state.marks)  # what was read is what had been
        worker.wait_for_doubt()
    beats = worker.transport.counters()["heartbeats"]
    wait_until(lambda: worker.transport.counters()["heartbeats"] > beats + 8, 10, "heartbeats")
    assert worker.transport.counters()["missed"] == 0


def test_a_connection_that_is_terminated_is_replaced(
    start: Any, sql: Any, caplog: Any, monkeypatch: Any
) -> None:
    caplog.set_level(logging.INFO, "cms_urlreload.mode")
    worker = start()
    worker.settle()
    terminate(sql)
    wait_until(lambda: not worker.vouches(), 5, "the end of the lease")
    worker.wait_for_push()
    assert worker.state.dirty  # something may have changed meanwhile
    messages = [record.getMessage() for record in caplog.records]
    assert [message.split(":")[0] for message in messages] == ["Push", "Poll", "Push"]


def test_a_server_that_is_away_is_told_once_and_tried_for_ever(
    start: Any, proxy: Proxy, caplog: Any, monkeypatch: Any
) -> None:
    monkeypatch.setattr(listener_module, "Backoff", lambda **limits: Backoff(0.01, 0.01))
    worker = start(LISTEN_DSN=dsn(host="127.0.0.1", port=proxy.port))
    proxy.refuses = True
    proxy.cut()
    backoff = worker.transport._listener._backoff
    wait_until(lambda: backoff._failures >= 8, 20, "more attempts")
    assert not worker.vouches()
    proxy.refuses = False
    worker.wait_for_push()
    # What was lost, and then why no other can be had.
    assert caplog.text.count("Poll: ") <= 3


def test_a_connection_that_dies_without_a_word_is_found_by_the_deadline(
    start: Any, proxy: Proxy, caplog: Any
) -> None:
    worker = start(**FAST, LISTEN_DSN=dsn(host="127.0.0.1", port=proxy.port))
    worker.settle()
    proxy.drops = True
    began = time.monotonic()
    wait_until(lambda: "no answer from the server within 0.5 seconds" in caplog.text, 10, "a log")
    assert not worker.vouches()
    # The interval and the deadline, and a wide margin for a slow machine.
    assert time.monotonic() - began < 5
    assert worker.state.gives_no_answer  # so that no request finds it out by waiting
    proxy.drops = False
    worker.wait_for_push()
    assert not worker.state.gives_no_answer


def test_the_lease_runs_out_by_itself__when_the_thread_does_not(
    start: Any, monkeypatch: Any, caplog: Any
) -> None:
    hung = threading.Event()
    worker = start(**FAST)
    worker.settle()
    with monkeypatch.context() as patch:
        # As if it were hung: it neither reads nor asks.
        patch.setattr(Session, "step", lambda *args, **kwargs: hung.wait(0.05))
        wait_until(lambda: worker.state.is_due(time.monotonic()), 10, "the end of the lease")
        worker.transport.lapsed()
        assert worker.transport.mode.current.name == "poll"
        assert "has not proved its connection in time" in caplog.text
    wait_until(lambda: worker.transport.mode.current.name == "push", 10, "its return")


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_thread_that_died_is_replaced(start: Any, monkeypatch: Any) -> None:
    def die(*args: Any) -> None:
        raise SystemExit

    worker = start()
    first = worker.transport._listener
    with monkeypatch.context() as patch:
        patch.setattr(Session, "step", die)
        first.beat()
        wait_until(lambda: not first.is_alive(), 5, "the end of the thread")
    assert not worker.vouches()
    worker.start()
    assert worker.transport._listener is not first


def test_trouble_that_nobody_expected_is_told_and_survived(
    start: Any, monkeypatch: Any, caplog: Any
) -> None:
    def fail(*args: Any) -> None:
        raise ZeroDivisionError

    worker = start()
    with monkeypatch.context() as patch:
        patch.setattr(Session, "step", fail)
        worker.transport.refreshed(True)
        wait_until(lambda: "Unexpected trouble" in caplog.text, 5, "the log")
    worker.wait_for_push()


def test_the_listener_may_have_an_address_of_its_own(start: Any, proxy: Proxy, sql: Any) -> None:
    worker = start(LISTEN_DSN=dsn(host="127.0.0.1", port=proxy.port))
    worker.settle()
    assert len(listeners(sql)) == 1
    proxy.cut()
    wait_until(lambda: not worker.vouches(), 5, "the end of the lease")


def test_the_listener_may_have_an_alias_of_its_own(start: Any, sql: Any, settings: Any) -> None:
    worker = start(LISTEN_DATABASE="default")
    worker.settle()
    sql("SELECT pg_notify('apphooks', '')")
    worker.wait_for_doubt()


@pytest.fixture
def reader(sql: Any) -> Iterator[str]:
    """An alias, beside the one that pages are written to, that assumes a role without rights."""
    sql("DROP ROLE IF EXISTS cms_reader")
    sql("CREATE ROLE cms_reader")
    options = copy.deepcopy(connection.settings_dict)
    options["OPTIONS"]["assume_role"] = "cms_reader"
    connections.databases["reader"] = options
    yield "reader"
    del connections.databases["reader"]
    sql("DROP OWNED BY cms_reader")
    sql("DROP ROLE cms_reader")


def test_the_listener_assumes_the_role(start: Any, sql: Any, reader: str) -> None:
    sql("GRANT SELECT ON ALL TABLES IN SCHEMA public TO cms_reader")
    worker = start(LISTEN_DATABASE=reader)
    worker.settle()
    sql("SELECT pg_notify('apphooks', '')")
    worker.wait_for_doubt()
    worker.transport.stop()


def test_a_role_without_rights_is_told(settings: Any, reader: str, caplog: Any) -> None:
    settings.CMS_URLRELOAD = {"LISTEN": True, "LISTEN_DATABASE": reader}
    worker = Worker()
    try:
        worker.transport.ensure_started()
        wait_until(lambda: "permission denied for table" in caplog.text, 10, "the log")
        assert not worker.vouches()
    finally:
        worker.transport.stop()


def test_an_idle_session_is_not_ended_by_the_server(start: Any, caplog: Any) -> None:
    impatient = dsn(options="-c idle_session_timeout=300ms")
    worker = start(HEARTBEAT_INTERVAL=1.0, LISTEN_DSN=impatient)
    beats = worker.transport.counters()["heartbeats"]
    wait_until(lambda: worker.transport.counters()["heartbeats"] > beats + 1, 10, "heartbeats")
    assert "Poll:" not in caplog.text


def test_where_it_may_not_listen__it_starts_nothing_and_says_why(settings: Any) -> None:
    settings.CMS_URLRELOAD = {"LISTEN": False}
    worker = Worker()
    worker.transport.ensure_started()
    assert worker.transport._listener is None
    assert worker.transport.mode.current.reason == "CMS_URLRELOAD['LISTEN'] is False."


class TestProbe:
    """What is not proved to arrive is not relied upon."""

    @pytest.fixture
    def deaf(self, settings: Any) -> Iterator[Worker]:
        """One whose address is that of another database: it hears, and never what is said here."""
        settings.CMS_URLRELOAD = {
            "LISTEN": True,
            "LISTEN_DSN": dsn(dbname="postgres"),
            "HEARTBEAT_TIMEOUT": 0.3,
        }
        worker = Worker()
        yield worker
        worker.transport.stop()

    def test_a_listener_that_hears_nothing_is_told_and_polled(
        self, deaf: Worker, caplog: Any
    ) -> None:
        deaf.transport.ensure_started()
        wait_until(lambda: "has not arrived" in caplog.text, 10, "the log")
        assert "CMS_URLRELOAD['LISTEN_DSN'] must lead to the database" in caplog.text
        assert deaf.transport.mode.current.name == "poll"
        assert not deaf.vouches()

    def test_without_an_address_of_its_own__a_pooler_is_suspected(
        self, settings: Any, monkeypatch: Any, caplog: Any
    ) -> None:
        settings.CMS_URLRELOAD = {"LISTEN": True, "HEARTBEAT_TIMEOUT": 0.3}
        elsewhere = dsn(dbname="postgres")
        monkeypatch.setattr(
            PostgresTransport, "_connect", lambda self: psycopg.connect(elsewhere, autocommit=True)
        )
        worker = Worker()
        try:
            worker.transport.ensure_started()
            wait_until(lambda: "has not arrived" in caplog.text, 10, "the log")
        finally:
            worker.transport.stop()
        assert "PgBouncer" in caplog.text
        assert "CMS_URLRELOAD['LISTEN_DSN'] or ['LISTEN_DATABASE']" in caplog.text

    def test_it_leaves_no_connection(self, start: Any, sql: Any) -> None:
        start()
        names = "SELECT count(*) FROM pg_stat_activity WHERE application_name LIKE '%probe%'"
        wait_until(lambda: sql(names) == [(0,)], 5, "the end of the probe")

    def test_it_wakes_nobody_else(self, start: Any, sql: Any) -> None:
        first = start()
        first.settle()
        heard = first.transport.counters()["notifications"]
        for _ in range(3):
            start()
        sql("SELECT pg_notify('apphooks', '')")
        first.wait_for_doubt()
        assert first.transport.counters()["notifications"] == heard + 1

    def test_one_that_is_refused_is_told(
        self, settings: Any, monkeypatch: Any, caplog: Any
    ) -> None:
        def refuse(self: Any, channel: str) -> Any:
            return psycopg.connect(dsn(password="wrong"), autocommit=True)

        settings.CMS_URLRELOAD = {"LISTEN": True}
        monkeypatch.setattr(PostgresTransport, "_connect_probe", refuse)
        worker = Worker()
        try:
            worker.transport.ensure_started()
            wait_until(lambda: "to prove that it hears failed" in caplog.text, 10, "the log")
            assert "password authentication failed" in caplog.text
            assert not worker.vouches()
        finally:
            worker.transport.stop()

    def test_one_that_may_not_notify_is_told(
        self, settings: Any, monkeypatch: Any, caplog: Any, sql: Any
    ) -> None:
        def crippled(self: Any, channel: str) -> Any:
            return Probe(psycopg.connect(dsn(), autocommit=True), "x" * 70)

        settings.CMS_URLRELOAD = {"LISTEN": True, "HEARTBEAT_TIMEOUT": 0.3}
        monkeypatch.setattr(PostgresTransport, "_connect_probe", crippled)
        worker = Worker()
        try:
            worker.transport.ensure_started()
            wait_until(lambda: "channel name too long" in caplog.text, 10, "the log")
        finally:
            worker.transport.stop()


def test_no_thread_to_be_had__is_told_once_and_polled(
    settings: Any, monkeypatch: Any, caplog: Any
) -> None:
    def refuse(self: Any) -> None:
        raise RuntimeError("can't start new thread")

    settings.CMS_URLRELOAD = {"LISTEN": True}
    monkeypatch.setattr("threading.Thread.start", refuse)
    worker = Worker()
    for _ in range(3):
        worker.transport.ensure_started()
    assert caplog.text.count("no thread can be started to listen") == 1
    assert worker.transport.mode.current.name == "poll"


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="Linux tells it in /proc")
def test_it_is_not_woken_between_two_heartbeats(start: Any) -> None:
    worker = start(HEARTBEAT_INTERVAL=600)
    worker.settle()
    beats = worker.transport.counters()["heartbeats"]
    wait_until(lambda: worker.transport.counters()["heartbeats"] > beats, 5, "the last heartbeat")
    thread = worker.transport._listener._thread

    def wakeups() -> str:
        status = Path(f"/proc/self/task/{thread.native_id}/status").read_text()
        [line] = [line for line in status.splitlines() if line.startswith("voluntary")]
        return line

    wait_until(lambda: wakeups() == (threading.Event().wait(0.2), wakeups())[1], 5, "its sleep")
    before = wakeups()
    threading.Event().wait(2)
    assert wakeups() == before
    worker.transport.refreshed(True)  # this is seen in the same number
    wait_until(lambda: wakeups() != before, 5, "a wake-up")


class TestStop:
    """The process ends at once, whatever the thread is in the middle of."""

    def timed(self, worker: Worker) -> float:
        began = time.monotonic()
        worker.transport.stop()
        return time.monotonic() - began

    def test_while_it_listens(self, start: Any, sql: Any) -> None:
        worker = start()
        self.timed(worker)
        assert not worker.transport._listener.is_alive()
        wait_until(lambda: not listeners(sql), 5, "the end of the session")

    def test_during_the_back_off(self, start: Any, proxy: Proxy, caplog: Any) -> None:
        worker = start(LISTEN_DSN=dsn(host="127.0.0.1", port=proxy.port))
        proxy.refuses = True
        proxy.cut()
        wait_until(lambda: "Poll:" in caplog.text, 5, "the loss")
        self.timed(worker)
        assert not worker.transport._listener.is_alive()

    def test_during_a_heartbeat_that_hangs(self, start: Any, proxy: Proxy) -> None:
        worker = start(
            HEARTBEAT_INTERVAL=0.1,
            HEARTBEAT_TIMEOUT=60,
            LISTEN_DSN=dsn(host="127.0.0.1", port=proxy.port),
        )
        proxy.drops = True
        beats = worker.transport.counters()["heartbeats"]
        session = worker.transport._listener._session
        wait_until(lambda: session._asking is not None and session.due > 0, 5, "a question")
        assert worker.transport.counters()["heartbeats"] <= beats + 1
        self.timed(worker)
        assert not worker.transport._listener.is_alive()

    def test_during_connect(self, settings: Any) -> None:
        # Accepts, by its backlog, and never says a word.
        with socket.create_server(("127.0.0.1", 0)) as silent:
            port = silent.getsockname()[1]
            settings.CMS_URLRELOAD = {
                "LISTEN": True,
                "CONNECT_TIMEOUT": 2,
                "LISTEN_DSN": dsn(host="127.0.0.1", port=port),
            }
            worker = Worker()
            worker.transport.ensure_started()
            assert self.timed(worker) < 1.9
            # Here, where there is no end of the process: until the connection is given up.
            thread = worker.transport._listener._thread  # type: ignore[union-attr]
            thread.join(10)
            assert not thread.is_alive()

    def test_for_good(self, start: Any) -> None:
        worker = start()
        worker.transport.stop()
        worker.transport.ensure_started()
        assert not worker.transport._listener.is_alive()


class TestFork:
    """A child has a listener of its own, and the parent keeps its session."""

    def in_child(self, body: Callable[[], bool]) -> bool:
        pid = os.fork()
        if pid == 0:
            result = False
            try:
                result = body()
            finally:
                os._exit(0 if result else 1)
        _, status = os.waitpid(pid, 0)
        return os.waitstatus_to_exitcode(status) == 0

    @pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
    def test_the_child_leaves_the_parents_session_alone(self, start: Any, sql: Any) -> None:
        worker = start()
        worker.settle()
        before = worker.transport._listener

        def child() -> bool:
            worker.state.reset_after_fork()
            worker.transport.abandon()
            gc.collect()
            # The numbers are taken, so that nobody else gets them.
            null = Path(os.devnull).stat().st_rdev
            if {os.fstat(number).st_rdev for number, _ in before._descriptors} != {null}:
                return False
            return worker.transport._listener is None and worker.state.is_due(time.monotonic())

        assert self.in_child(child)
        assert worker.transport._listener is before
        assert before.is_alive()
        sql("SELECT pg_notify('apphooks', '')")
        worker.wait_for_doubt()
        beats = worker.transport.counters()["heartbeats"]
        worker.transport.refreshed(True)
        wait_until(lambda: worker.transport.counters()["heartbeats"] > beats, 5, "a heartbeat")
        assert len(listeners(sql)) == 1

    @pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
    def test_the_child_has_a_listener_of_its_own(self, start: Any, sql: Any) -> None:
        worker = start()
        worker.settle()

        def child() -> bool:
            worker.state.reset_after_fork()
            worker.transport.abandon()
            connection.connection = None  # the parent's, as Django's own hooks would have it
            worker.start()
            worker.settle()
            worker.transport.announce("default")  # to the parent
            worker.transport.stop()
            return True

        assert self.in_child(child)
        worker.wait_for_doubt()

    @pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
    def test_a_fork_that_runs_no_hooks__is_noticed_by_the_pid(self, start: Any, sql: Any) -> None:
        """As uWSGI forks, in C."""
        worker = start()
        worker.settle()

        def child() -> bool:
            connection.connection = None
            worker.state.expire_lease()
            parents = worker.transport._listener
            worker.start()
            own = worker.transport._listener
            worker.transport.stop()
            return own is not parents and own.is_ours

        assert self.in_child(child)
        sql("SELECT pg_notify('apphooks', '')")
        worker.wait_for_doubt()
        assert worker.transport._listener.is_alive()


def test_token__of_the_listener_is_that_of_the_request(make_page: Any) -> None:
    make_page("news", "NewsApphook")
    PageUrl.objects.update(path="with 'quotes' and 100% \\ of it")
    transport = PostgresTransport(State())
    with psycopg.connect(dsn(), autocommit=True, client_encoding="UTF8") as own:
        row = own.execute(transport._script(own).heartbeat(False)).fetchone()
    assert row is not None
    assert row[1:] == transport.read_token("default")
