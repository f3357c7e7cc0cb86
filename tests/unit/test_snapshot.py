"""One transaction that sees one state, and is never in anybody's way."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from cms.models import PageUrl
from django.contrib.sites.models import Site
from django.db import (
    DatabaseError,
    IntegrityError,
    OperationalError,
    connection,
    connections,
    router,
    transaction,
)
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.signals import connection_created

from cms_urlreload.deadline import REUSED_WITHIN, Deadline, NoAnswer
from cms_urlreload.snapshot import snapshot
from tests.support.proxy import Proxy
from tests.support.waiting import wait_until

from .conftest import dsn

pytestmark = pytest.mark.django_db(transaction=True)

#: Longer than any test runs: a limit that works ends it sooner.
FOREVER = 60


def elsewhere(statement: str, *parameters: Any) -> None:
    with psycopg.connect(dsn(), autocommit=True) as other:
        other.execute(statement, parameters)


def value(statement: str) -> Any:
    with connections["default"].cursor() as cursor:
        cursor.execute(statement)
        return cursor.fetchone()[0]


def pid() -> int:
    return int(value("SELECT pg_backend_pid()"))


def names() -> list[str]:
    return list(Site.objects.order_by("pk").values_list("name", flat=True))


@pytest.fixture
def site() -> Site:
    Site.objects.all().delete()
    return Site.objects.create(domain="a.example", name="a")


def no_attempt_is_left() -> bool:
    return all(thread.name != "cms-urlreload-connect" for thread in threading.enumerate())


def is_as_before() -> bool:
    """Whether the session has nothing left of a snapshot."""
    wrapper = connections["default"]
    assert not wrapper.in_atomic_block
    assert wrapper.get_autocommit()
    assert not wrapper.needs_rollback
    assert not wrapper.savepoint_ids
    return bool(
        value("SHOW lock_timeout") == value("SHOW statement_timeout") == "0"
        and value("SHOW transaction_isolation") == "read committed"
    )


class TestState:
    def test_what_is_committed_meanwhile__is_not_seen(self, site: Site) -> None:
        with snapshot("default", Deadline(5)):
            assert names() == ["a"]
            elsewhere("UPDATE django_site SET name = 'b'")
            assert names() == ["a"]
        assert names() == ["b"]
        assert is_as_before()

    def test_the_first_statement_counts__not_its_begin(self, site: Site) -> None:
        """PostgreSQL takes the snapshot with the first statement that reads."""
        with snapshot("default", Deadline(5)):
            first = names()
            elsewhere("UPDATE django_site SET name = 'b'")
            elsewhere("UPDATE django_site SET name = 'c'")
            assert names() == first

    def test_inside_a_transaction__it_adds_nothing(
        self, site: Site, django_assert_num_queries: Any
    ) -> None:
        with transaction.atomic(), django_assert_num_queries(1):
            with snapshot("default", Deadline(5)):
                names()

    def test_an_atomic_block_inside__can_be_undone(self, site: Site) -> None:
        with snapshot("default", Deadline(5)):
            with pytest.raises(IntegrityError), transaction.atomic():
                Site.objects.create(domain="a.example", name="twice")
            assert names() == ["a"]
        assert is_as_before()

    def test_what_a_get_urls_writes__is_committed(self, site: Site) -> None:
        called: list[str] = []
        with snapshot("default", Deadline(5)):
            Site.objects.create(domain="b.example", name="b")
            transaction.on_commit(lambda: called.append("hook"))
            assert called == []
        assert names() == ["a", "b"]
        assert called == ["hook"]

    def test_an_error__rolls_back(self, site: Site) -> None:
        called: list[str] = []
        with pytest.raises(KeyboardInterrupt), snapshot("default", Deadline(5)):
            Site.objects.create(domain="b.example", name="b")
            transaction.on_commit(lambda: called.append("hook"))
            raise KeyboardInterrupt
        assert names() == ["a"]
        assert is_as_before()
        assert called == []

    def test_an_error_that_was_caught__is_raised_at_the_end(self, site: Site) -> None:
        with pytest.raises(DatabaseError, match="no_such_table"):
            with snapshot("default", Deadline(5)):
                with pytest.raises(DatabaseError):
                    value("SELECT 1 FROM no_such_table")
        assert is_as_before()

    def test_where_somebody_commits_by_hand__another_session_looks(self, site: Site) -> None:
        transaction.set_autocommit(False)
        try:
            mine = pid()
            Site.objects.update(name="never committed")
            with snapshot("default", Deadline(5)):
                assert names() == ["a"]
                assert pid() != mine
            assert names() == ["never committed"]
            assert pid() == mine
            transaction.rollback()
        finally:
            transaction.set_autocommit(True)
        assert names() == ["a"]


def test_a_wrapper_that_is_added_meanwhile__stays() -> None:
    """As tools for tracing add theirs, when a connection is made."""

    def trace(execute: Any, *args: Any) -> Any:
        traced.append(args[0])
        return execute(*args)

    def add(connection: BaseDatabaseWrapper, **kwargs: Any) -> None:
        connection.execute_wrappers.append(trace)

    traced: list[str] = []
    connection.close()
    before = list(connection.execute_wrappers)
    connection_created.connect(add)
    try:
        with snapshot("default", Deadline(5)):
            value("SELECT 1")
    finally:
        connection_created.disconnect(add)
    try:
        assert connection.execute_wrappers == [*before, trace]
        assert "SELECT 1" in traced
    finally:
        connection.execute_wrappers.remove(trace)


def test_what_a_signal_handler_raises_after_the_begin__leaves_no_transaction() -> None:
    def interrupt(execute: Any, sql: str, *args: Any) -> Any:
        result = execute(sql, *args)
        if sql.startswith("BEGIN"):
            raise TimeoutError("a soft time limit")
        return result

    connection.execute_wrappers.append(interrupt)
    try:
        with pytest.raises(TimeoutError), snapshot("default", Deadline(5)):
            pytest.fail("begun")
    finally:
        connection.execute_wrappers.remove(interrupt)
    assert is_as_before()


class TestRouter:
    """A router that chooses a replica for each query, as in Django's documentation."""

    @pytest.fixture(autouse=True)
    def _routers(self, settings: Any) -> None:
        class Alternating:
            turn = 0

            def db_for_read(self, model: Any, **hints: Any) -> str:
                self.turn += 1
                return f"replica{self.turn % 2}"

            def db_for_write(self, model: Any, **hints: Any) -> str:
                return "default" if model._meta.app_label != "sessions" else "elsewhere"

        settings.DATABASE_ROUTERS = [Alternating()]

    def test_all_is_read_from_one_database(self) -> None:
        with snapshot("default", Deadline(5)):
            assert {router.db_for_read(PageUrl) for _ in range(4)} == {"default"}
            assert {router.db_for_read(Site) for _ in range(4)} == {"default"}
        assert {router.db_for_read(PageUrl) for _ in range(4)} == {"replica0", "replica1"}

    def test_what_is_in_another_database__is_left_to_the_routers(self) -> None:
        from django.contrib.sessions.models import Session

        with snapshot("default", Deadline(5)):
            assert {router.db_for_read(Session) for _ in range(4)} == {"replica0", "replica1"}

    def test_other_threads_are_not_concerned(self) -> None:
        seen: set[str] = set()

        def read() -> None:
            seen.update(router.db_for_read(PageUrl) for _ in range(4))

        with snapshot("default", Deadline(5)):
            thread = threading.Thread(target=read)
            thread.start()
            thread.join()
        assert seen == {"replica0", "replica1"}


class TestDeadline:
    @pytest.fixture
    def lock(self) -> Iterator[None]:
        with psycopg.connect(dsn()) as other:
            other.execute("LOCK TABLE django_site IN ACCESS EXCLUSIVE MODE")
            yield

    def test_a_locked_table__ends_it__and_the_connection_stays(
        self, site: Site, lock: None
    ) -> None:
        before = pid()
        with pytest.raises(OperationalError, match="lock timeout"):
            with snapshot("default", Deadline(0.5)):
                names()
        assert pid() == before
        assert is_as_before()

    def test_a_slow_query__ends_it__and_the_connection_stays(self) -> None:
        before = pid()
        with pytest.raises(OperationalError, match="statement timeout"):
            with snapshot("default", Deadline(0.5)):
                value(f"SELECT 1 FROM pg_sleep({FOREVER})")
        assert pid() == before
        assert is_as_before()

    def test_all_statements_have_one_deadline(self) -> None:
        """Each of them is within the server's limit."""
        with pytest.raises(NoAnswer), snapshot("default", Deadline(0.5)):
            for _ in range(FOREVER):
                value("SELECT 1 FROM pg_sleep(0.2)")
        assert is_as_before()

    def test_time_without_the_database_does_not_count(self) -> None:
        with snapshot("default", Deadline(0.5)):
            assert value("SELECT 1") == 1
            threading.Event().wait(0.7)  # a slow get_urls()
            assert value("SELECT 1") == 1

    def test_a_connection_that_died__is_replaced(self) -> None:
        elsewhere("SELECT pg_terminate_backend(%s, 5000)", pid())
        with snapshot("default", Deadline(5)):
            assert value("SELECT 1") == 1

    def test_no_thread_is_left(self) -> None:
        before = threading.active_count()
        for _ in range(10):
            with snapshot("default", Deadline(5)):
                value("SELECT 1")
        assert threading.active_count() == before


class TestSilence:
    """A server that says nothing: a proxy that acknowledges and drops."""

    @pytest.fixture
    def proxy(self) -> Iterator[Proxy]:
        parameters = psycopg.conninfo.conninfo_to_dict(dsn())
        with Proxy(str(parameters["host"]), int(str(parameters["port"]))) as proxy:
            yield proxy

    @pytest.fixture(params=[False, True], ids=["", "health checks"])
    def through(self, proxy: Proxy, request: Any) -> Iterator[BaseDatabaseWrapper]:
        """The connection of this thread, through the proxy."""
        outer, own = connections["default"], connection.copy()
        own.settings_dict.update(
            HOST="127.0.0.1", PORT=proxy.port, CONN_HEALTH_CHECKS=request.param, CONN_MAX_AGE=None
        )
        connections["default"] = own
        yield own
        connections["default"] = outer
        own.close()
        wait_until(no_attempt_is_left, 20, "the end of an attempt to connect")

    def test_a_new_connection(self, through: BaseDatabaseWrapper, proxy: Proxy) -> None:
        proxy.drops = True
        began = time.monotonic()
        with pytest.raises(NoAnswer, match="no connection"), snapshot("default", Deadline(0.5)):
            pytest.fail("begun")
        assert time.monotonic() - began < FOREVER
        proxy.drops = False
        with snapshot("default", Deadline(5)):
            assert value("SELECT 1") == 1

    def test_a_connection_that_is_kept(self, through: BaseDatabaseWrapper, proxy: Proxy) -> None:
        before = pid()
        through.close_if_unusable_or_obsolete()  # the end of a request
        proxy.drops = True
        with pytest.raises(NoAnswer), snapshot("default", Deadline(0.5)):
            pytest.fail("begun")
        assert through.connection is None
        proxy.drops = False
        assert pid() != before
        assert is_as_before()

    def test_in_the_middle(self, through: BaseDatabaseWrapper, proxy: Proxy) -> None:
        with pytest.raises(NoAnswer), snapshot("default", Deadline(0.5)):
            assert value("SELECT 1") == 1
            proxy.drops = True
            value("SELECT 1")
        assert through.connection is None
        proxy.drops = False
        assert is_as_before()

    def test_at_the_end(self, through: BaseDatabaseWrapper, proxy: Proxy) -> None:
        with pytest.raises(NoAnswer), snapshot("default", Deadline(0.5)):
            assert value("SELECT 1") == 1
            proxy.drops = True
        proxy.drops = False
        assert is_as_before()

    def test_an_error_that_get_urls_catches__is_none_that_is_forgotten(
        self, through: BaseDatabaseWrapper, proxy: Proxy
    ) -> None:
        with pytest.raises(NoAnswer), snapshot("default", Deadline(0.5)):
            proxy.drops = True
            with pytest.raises(DatabaseError):
                value("SELECT 1")
        proxy.drops = False
        assert is_as_before()

    def test_a_forgotten_connection__costs_little__and_no_look(
        self, through: BaseDatabaseWrapper, proxy: Proxy
    ) -> None:
        """The server is well, and a firewall has forgotten one connection."""
        before = pid()
        through.close_if_unusable_or_obsolete()
        proxy.silence()
        deadline = Deadline(5)
        with snapshot("default", deadline):
            assert value("SELECT pg_backend_pid()") != before
        assert deadline.left > 5 - REUSED_WITHIN - 2.5
