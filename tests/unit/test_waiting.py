"""Who waits for a refresh, for how long, in what, and what may end it."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import logging
import signal
import threading
import time
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from asgiref.sync import sync_to_async
from cms.models import PageUrl
from django.db import DatabaseError, OperationalError, connection, connections
from django.urls import reverse
from django.utils.translation import override

from cms_urlreload import reloader as reloader_module
from cms_urlreload.apphooks import build
from cms_urlreload.state import Token
from tests.demo.news.cms_apps import NewsApphook
from tests.support.waiting import wait_until

from .conftest import Process, dsn

#: Longer than any test runs.
FOREVER = 60


@pytest.fixture(autouse=True)
def _english() -> Any:
    with override("en"):
        yield


@pytest.fixture
def news(process: Process, make_page: Any) -> Any:
    page = make_page("news", "NewsApphook")
    process.refresh()
    return page


def move(page: Any, path: str) -> None:
    PageUrl.objects.filter(page=page).update(path=path)


@pytest.fixture
def lock() -> Iterator[psycopg.Connection]:
    """Somebody has locked the table of the URLs."""
    with psycopg.connect(dsn()) as other:
        other.execute("LOCK TABLE cms_pageurl IN ACCESS EXCLUSIVE MODE")
        yield other


def no_thread_of_ours() -> bool:
    return not any(t.name.startswith("cms-urlreload") for t in threading.enumerate())


@pytest.fixture(autouse=True)
def _threads_end() -> Iterator[None]:
    yield
    wait_until(no_thread_of_ours, 20, "the end of our threads")


class TestLockedTable:
    """The table is locked for longer than REFRESH_TIMEOUT."""

    @pytest.fixture(autouse=True)
    def _soon(self, settings: Any) -> None:
        settings.CMS_URLRELOAD = {"REFRESH_TIMEOUT": 0.5}

    def test_one_request_waits__and_no_other(
        self, process: Process, news: Any, lock: psycopg.Connection, caplog: Any
    ) -> None:
        process.state.mark_dirty()
        process.refresh()
        assert process.reloader.failure is not None
        for _ in range(20):
            process.now += 20
            before = time.thread_time()
            process.refresh()
            assert time.thread_time() - before < FOREVER
        assert reverse("news:story-list") == "/en/news/"
        wait_until(no_thread_of_ours, 20, "the look aside")
        assert len([r for r in caplog.records if r.levelno >= logging.WARNING]) == 1

    def test_it_catches_up_by_itself(
        self, process: Process, news: Any, lock: psycopg.Connection
    ) -> None:
        lock.execute("UPDATE cms_pageurl SET path = 'moved' WHERE path = 'news'")
        process.state.mark_dirty()
        process.refresh()
        lock.commit()

        def has_moved() -> bool:
            process.now += 20
            process.refresh()
            return bool(reverse("news:story-list") == "/en/moved/")

        wait_until(has_moved, 20, "the look aside")
        assert not process.state.dirty
        assert process.reloader.failure is None

    def test_an_own_commit__is_looked_for_at_once(
        self, process: Process, news: Any, lock: psycopg.Connection
    ) -> None:
        process.state.mark_dirty()
        process.refresh()
        lock.rollback()
        move(news, "moved")
        process.state.mark_dirty("own")
        process.refresh()
        assert reverse("news:story-list") == "/en/moved/"

    def test_after_an_own_commit__no_back_off_is_left(
        self, process: Process, news: Any, monkeypatch: Any
    ) -> None:
        """What others change then is not held back by a failure that is over."""
        with monkeypatch.context() as patch:
            patch.setattr(process.transport, "read_token", lambda alias: 1 / 0)
            for _ in range(10):
                process.state.mark_dirty()
                process.now += 60
                process.refresh()
        for path, reason in (("by-us", "own"), ("by-others", "announced")):
            move(news, path)
            process.state.mark_dirty(reason)  # type: ignore[arg-type]
            process.refresh()
            assert reverse("news:story-list") == f"/en/{path}/"

    def test_a_request_in_front__waits_no_longer_than_the_timeout(
        self, process: Process, news: Any, lock: psycopg.Connection
    ) -> None:
        """Two requests after one another in the queue of a look do not wait twice."""
        process.state.mark_dirty()
        waited: list[float] = []

        def request() -> None:
            began = time.monotonic()
            process.refresh()
            waited.append(time.monotonic() - began)
            connections.close_all()

        threads = [threading.Thread(target=request) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(FOREVER)
        assert len(waited) == 8
        assert max(waited) < FOREVER

    def test_known_by_the_listener__no_request_waits_for_long(
        self, process: Process, news: Any, lock: psycopg.Connection, monkeypatch: Any
    ) -> None:
        looks: list[str] = []
        read_token = process.transport.read_token

        def read(alias: str) -> Token:
            looks.append(threading.current_thread().name)
            return read_token(alias)

        monkeypatch.setattr(process.transport, "read_token", read)
        process.state.gives_no_answer = True
        process.state.expire_lease()
        process.refresh()
        wait_until(no_thread_of_ours, 20, "the look aside")
        assert looks == ["cms-urlreload-refresh"]

    def test_known_by_the_listener__and_wrong__the_request_is_current(
        self, process: Process, news: Any
    ) -> None:
        """Its own connection was cut; the database is well."""
        move(news, "moved")
        process.state.gives_no_answer = True
        process.state.expire_lease()
        process.now += 1
        process.refresh()
        wait_until(lambda: reverse("news:story-list") == "/en/moved/", 20, "the look aside")
        assert not process.state.gives_no_answer


class TestNoUrlsYet:
    """A process that starts while the database gives no answer."""

    @pytest.fixture(autouse=True)
    def _soon(self, settings: Any) -> None:
        settings.CMS_URLRELOAD = {"REFRESH_TIMEOUT": 0.5}

    def test_what_may_be_an_apphook_is_503__and_the_rest_is_served(
        self, process: Process, make_page: Any, lock: psycopg.Connection, client: Any
    ) -> None:
        process.refresh()
        for path in ("/en/news/", "/en/", "/en/no-such-page/"):
            answer = client.get(path)
            assert answer.status_code == 503, path
            assert b"could not be read" in answer.content
            assert answer["Retry-After"]
        assert client.get("/ping/").status_code == 200
        assert reverse("admin:index")

    def test_it_becomes_right_by_itself(
        self, process: Process, make_page: Any, client: Any
    ) -> None:
        make_page("news", "NewsApphook")
        with psycopg.connect(dsn()) as other:
            other.execute("LOCK TABLE cms_pageurl IN ACCESS EXCLUSIVE MODE")
            process.refresh()
            assert client.get("/en/news/archive/2020/").status_code == 503
            other.rollback()

        def is_right() -> bool:
            process.now += 20
            process.refresh()
            return bool(client.get("/en/news/archive/2020/").status_code == 200)

        wait_until(is_right, 20, "the look aside")


class TestEventLoop:
    """Under ASGI one thread is taken, by whoever looks."""

    async def requests(self, process: Process, count: int) -> int:
        """Let requests come at once; return how many threads there were more meanwhile."""
        before = threading.active_count()
        tasks = [asyncio.create_task(process.reloader.arefresh()) for _ in range(count)]
        await asyncio.sleep(0.1)
        threads = threading.active_count() - before
        await asyncio.gather(*tasks)
        await sync_to_async(connections.close_all)()
        return threads

    def test_many_wait__in_no_thread(
        self, process: Process, news: Any, lock: psycopg.Connection, settings: Any, caplog: Any
    ) -> None:
        settings.CMS_URLRELOAD = {"REFRESH_TIMEOUT": 0.5}
        process.state.mark_dirty()
        # One that looks; the watch on its socket, and one that opens its connection.
        assert asyncio.run(self.requests(process, 500)) <= 3
        assert len([r for r in caplog.records if r.levelno >= logging.WARNING]) == 1

    def test_all_have_the_result(self, process: Process, news: Any) -> None:
        move(news, "moved")
        process.state.mark_dirty()

        async def answers() -> list[str]:
            async def answer() -> str:
                await process.reloader.arefresh()
                return reverse("news:story-list")

            found = await asyncio.gather(*(answer() for _ in range(20)))
            await sync_to_async(connections.close_all)()
            return found

        assert asyncio.run(answers()) == ["/en/moved/"] * 20
        assert process.reloader.publications == 2

    def test_a_request_that_is_cancelled__keeps_nobody_from_looking(
        self, process: Process, news: Any
    ) -> None:
        move(news, "moved")
        process.state.mark_dirty()

        async def cancel_and_ask() -> str:
            busy = threading.Event()
            first = asyncio.create_task(sync_to_async(busy.wait)(FOREVER))  # the loop's one thread
            gone = asyncio.create_task(process.reloader.arefresh())
            await asyncio.sleep(0.05)
            gone.cancel()
            busy.set()
            await asyncio.gather(first, gone, return_exceptions=True)
            await process.reloader.arefresh()
            await sync_to_async(connections.close_all)()
            return reverse("news:story-list")

        assert asyncio.run(cancel_and_ask()) == "/en/moved/"

    def test_a_thread_that_the_look_waits_for__looks_itself(
        self, process: Process, news: Any
    ) -> None:
        """The one thread for synchronous code is busy with something that refreshes."""
        move(news, "moved")
        process.state.mark_dirty()

        async def deadlock() -> None:
            go = threading.Event()

            def busy() -> None:
                go.wait(FOREVER)
                process.refresh()

            first = asyncio.create_task(sync_to_async(busy)())
            await asyncio.sleep(0.05)
            second = asyncio.create_task(process.reloader.arefresh())
            await asyncio.sleep(0.05)
            go.set()
            await asyncio.gather(first, second)
            await sync_to_async(connections.close_all)()

        asyncio.run(deadlock())
        assert reverse("news:story-list") == "/en/moved/"


class SoftTimeLimitExceeded(Exception):  # noqa: N818
    """As billiard, and so Celery, has it."""


SoftTimeLimitExceeded.__module__ = "billiard.exceptions"


class TestWhatEndsTheCaller:
    """What a signal handler or a time limit raises is the caller's, and not a failure of ours."""

    def broken(self, error: BaseException) -> Any:
        def get_urls(*args: Any, **kwargs: Any) -> Any:
            raise error

        return get_urls

    def handler(self, *args: Any) -> None:
        raise OSError("time is up")

    @pytest.mark.parametrize("wrapped", [False, True])
    def test_a_signal_handler(
        self, process: Process, news: Any, monkeypatch: Any, wrapped: bool
    ) -> None:
        def slow(*args: Any, **kwargs: Any) -> Any:
            signal.setitimer(signal.ITIMER_REAL, 0.05)
            threading.Event().wait(FOREVER)

        move(news, "moved")
        process.state.mark_dirty()
        handler = functools.partial(self.handler) if wrapped else self.handler
        before = signal.signal(signal.SIGALRM, handler)
        try:
            with monkeypatch.context() as patch:
                patch.setattr(NewsApphook, "get_urls", slow)
                with pytest.raises(OSError, match="time is up"):
                    process.refresh()
        finally:
            signal.signal(signal.SIGALRM, before)
        self.works_again(process)

    def test_a_signal_handler__while_the_database_is_asked(
        self, process: Process, news: Any, monkeypatch: Any
    ) -> None:
        def slow(alias: str) -> Any:
            signal.setitimer(signal.ITIMER_REAL, 0.2)
            with connections[alias].cursor() as cursor:
                cursor.execute("SELECT pg_sleep(1.5)")

        move(news, "moved")
        process.state.mark_dirty()
        before = signal.signal(signal.SIGALRM, self.handler)
        try:
            with monkeypatch.context() as patch:
                patch.setattr(process.transport, "read_token", slow)
                with pytest.raises(OSError, match="time is up"):
                    process.refresh()
        finally:
            signal.signal(signal.SIGALRM, before)
        self.works_again(process)

    def test_a_time_limit_of_celery(self, process: Process, news: Any, monkeypatch: Any) -> None:
        move(news, "moved")
        process.state.mark_dirty()
        with monkeypatch.context() as patch:
            patch.setattr(NewsApphook, "get_urls", self.broken(SoftTimeLimitExceeded()))
            with pytest.raises(SoftTimeLimitExceeded):
                process.refresh()
        self.works_again(process)

    @pytest.mark.parametrize("error", [KeyboardInterrupt(), SystemExit()])
    def test_the_end_of_the_process(
        self, process: Process, news: Any, monkeypatch: Any, error: BaseException
    ) -> None:
        move(news, "moved")
        process.state.mark_dirty()
        with monkeypatch.context() as patch:
            patch.setattr(NewsApphook, "get_urls", self.broken(error))
            with pytest.raises(type(error)):
                process.refresh()
        self.works_again(process)

    def works_again(self, process: Process) -> None:
        assert process.reloader.failure is None
        assert not connection.in_atomic_block
        process.refresh()
        assert reverse("news:story-list") == "/en/moved/"


class TestCaughtErrors:
    """A get_urls() that catches an error of the database, after which PostgreSQL answers nothing:
    say, that of a table that is not migrated yet."""

    def catching(self, monkeypatch: Any, *statements: str) -> None:
        get_urls = NewsApphook.get_urls

        def get_urls_or_not(self: Any, page: Any = None, *args: Any, **kwargs: Any) -> Any:
            if page is not None:
                for statement in statements:
                    with contextlib.suppress(DatabaseError), connection.cursor() as cursor:
                        cursor.execute(statement)
            return get_urls(self, page, *args, **kwargs)

        monkeypatch.setattr(NewsApphook, "get_urls", get_urls_or_not)

    def test_the_urls_are_built(
        self, process: Process, news: Any, make_page: Any, monkeypatch: Any
    ) -> None:
        make_page("events", "EventsApphook")
        self.catching(monkeypatch, "SELECT 1 FROM not_migrated_yet", "SELECT 1", "SELECT 1/0")
        move(news, "moved")
        process.state.mark_dirty()
        process.refresh()
        assert process.reloader.failure is None
        assert reverse("news:story-list") == "/en/moved/"
        assert reverse("events:event-list") == "/en/events/"
        assert not connection.in_atomic_block

    def test_no_answer_is_never_forgotten(
        self, process: Process, news: Any, monkeypatch: Any, settings: Any
    ) -> None:
        settings.CMS_URLRELOAD = {"REFRESH_TIMEOUT": 0.3}
        self.catching(monkeypatch, f"SELECT pg_sleep({FOREVER})")
        move(news, "moved")
        process.state.mark_dirty()
        process.refresh()
        assert process.reloader.failure is not None
        assert reverse("news:story-list") == "/en/news/"


class TestRaisesNothing:
    def test_an_error_without_a_text(self, process: Process, news: Any, monkeypatch: Any) -> None:
        class MuteError(Exception):
            def __str__(self) -> str:
                raise ValueError

        def mute(*args: Any, **kwargs: Any) -> Any:
            raise MuteError

        monkeypatch.setattr(reloader_module, "build", mute)
        move(news, "moved")
        process.state.mark_dirty()
        process.refresh()
        assert process.reloader.failure == "MuteError"

    def test_a_router_that_raises(self, process: Process, news: Any, settings: Any) -> None:
        class Broken:
            def db_for_read(self, model: Any, **hints: Any) -> str:
                raise ZeroDivisionError("in a router")

        move(news, "moved")
        process.state.mark_dirty()
        settings.DATABASE_ROUTERS = [Broken()]
        process.refresh()
        assert "in a router" in str(process.reloader.failure)
        settings.DATABASE_ROUTERS = []
        process.now += 60
        process.refresh()
        assert reverse("news:story-list") == "/en/moved/"

    def test_wrong_settings(self, process: Process, news: Any, settings: Any) -> None:
        process.state.mark_dirty()
        settings.CMS_URLRELOAD = {"POLL_INTERVAL": "often"}
        process.refresh()
        assert "POLL_INTERVAL" in str(process.reloader.failure)


class TestToldOnce:
    def fail(self, process: Process, monkeypatch: Any, *messages: str) -> None:
        with monkeypatch.context() as patch:
            for message in messages:

                def fail(*args: Any, message: str = message) -> Any:
                    raise OperationalError(message)

                patch.setattr(reloader_module, "build", fail)
                process.state.mark_dirty()
                process.now += 60
                process.refresh()

    def test_a_message_with_a_number_in_it(
        self, process: Process, news: Any, monkeypatch: Any, caplog: Any
    ) -> None:
        move(news, "moved")
        self.fail(process, monkeypatch, *(f"Process {n} waits for 0x{n:x}" for n in range(5)))
        assert len([r for r in caplog.records if r.levelno >= logging.ERROR]) == 1

    def test_two_that_take_turns(
        self, process: Process, news: Any, monkeypatch: Any, caplog: Any
    ) -> None:
        move(news, "moved")
        self.fail(process, monkeypatch, *["refused", "starting up"] * 3)
        assert len([r for r in caplog.records if r.levelno >= logging.ERROR]) == 2

    def test_again_after_a_success(
        self, process: Process, news: Any, monkeypatch: Any, caplog: Any
    ) -> None:
        for path in ("one", "two"):
            move(news, path)
            self.fail(process, monkeypatch, "refused")
            process.now += 60
            process.refresh()
            assert reverse("news:story-list") == f"/en/{path}/"
        assert len([r for r in caplog.records if r.levelno >= logging.ERROR]) == 2


def test_a_statement_is_not_repeated__after_a_timeout(
    process: Process, news: Any, settings: Any, monkeypatch: Any, lock: psycopg.Connection
) -> None:
    settings.CMS_URLRELOAD = {"REFRESH_TIMEOUT": 0.5}
    looks: list[str] = []
    read_token = process.transport.read_token

    def read(alias: str) -> Token:
        looks.append(alias)
        return read_token(alias)

    monkeypatch.setattr(process.transport, "read_token", read)
    process.state.mark_dirty()
    process.refresh()
    assert looks == ["default"]


def test_a_get_urls_that_waits_for_another_request__ends(
    process: Process, news: Any, settings: Any, monkeypatch: Any
) -> None:
    """One that asks its own server over HTTP."""
    settings.CMS_URLRELOAD = {"REFRESH_TIMEOUT": 0.3}
    get_urls = NewsApphook.get_urls
    asked: list[str] = []

    def asks(self: Any, *args: Any, **kwargs: Any) -> Any:
        def request() -> None:
            process.refresh()
            with override("en"):
                asked.append(reverse("news:story-list"))
            connections.close_all()

        thread = threading.Thread(target=request)
        thread.start()
        thread.join(FOREVER)
        return get_urls(self, *args, **kwargs)

    monkeypatch.setattr(NewsApphook, "get_urls", asks)
    # With a clock that goes: the request is to wait for its own.
    monkeypatch.setattr(process.reloader, "_clock", time.monotonic)
    process.state.expire_lease()
    move(news, "moved")
    process.state.mark_dirty()
    process.refresh()
    assert set(asked) == {"/en/news/"}
    assert reverse("news:story-list") == "/en/moved/"


def test_build__runs_in_the_snapshot(process: Process, news: Any, monkeypatch: Any) -> None:
    """What is committed between the token and the rows is in neither."""

    def change_first(*args: Any) -> Any:
        with psycopg.connect(dsn(), autocommit=True) as other:
            other.execute("UPDATE cms_pageurl SET path = 'b' WHERE page_id = %s", [news.pk])
        return build(*args)

    move(news, "a")
    process.state.mark_dirty()
    with monkeypatch.context() as patch:
        patch.setattr(reloader_module, "build", change_first)
        process.refresh()
    assert reverse("news:story-list") == "/en/a/"
    move(news, "a")
    process.state.mark_dirty()
    process.refresh()
    assert reverse("news:story-list") == "/en/a/"
