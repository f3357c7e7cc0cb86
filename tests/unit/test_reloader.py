from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from cms import appresolver
from cms.models import PageUrl
from cms.utils.apphook_reload import mark_urlconf_as_changed
from django.db import OperationalError, connection, transaction
from django.urls import NoReverseMatch, resolve, reverse
from django.utils.translation import override

from cms_urlreload import reloader as reloader_module
from cms_urlreload.apphooks import build
from cms_urlreload.signals import counted, refresh_failed, urls_reloaded
from cms_urlreload.single_flight import Flight
from cms_urlreload.state import Token
from tests.demo.news.cms_apps import NewsApphook

from .conftest import Process, dsn

#: Statements of a look that finds nothing new (BEGIN, the token, COMMIT), and of one that finds a
#: change (the rows as well).
LOOK = 3
CHANGE = 4


@pytest.fixture(autouse=True)
def _english() -> Any:
    with override("en"):
        yield


@pytest.fixture
def news(process: Process, make_page: Any) -> Any:
    page = make_page("news", "NewsApphook")
    process.refresh()
    assert reverse("news:story-list") == "/en/news/"
    return page


def move(page: Any, path: str) -> None:
    """Past every signal, as SQL would do it."""
    PageUrl.objects.filter(page=page).update(path=path)


def broken(*args: Any, **kwargs: Any) -> Any:
    raise ZeroDivisionError("in get_urls()")


def test_refresh__builds_at_the_first_request(process: Process, make_page: Any) -> None:
    make_page("news", "NewsApphook")
    process.refresh()
    assert reverse("news:story", args=["x"]) == "/en/news/x/"
    assert process.state.applied == process.transport.read_token("default")
    assert not process.state.is_due(process.now)


def test_refresh__asks_nothing__within_the_poll_interval(
    process: Process, news: Any, django_assert_num_queries: Any
) -> None:
    process.now += 0.9
    with django_assert_num_queries(0):
        process.refresh()


def test_refresh__polls__when_the_interval_is_over(
    process: Process, news: Any, django_assert_num_queries: Any
) -> None:
    process.now += 1.0
    with django_assert_num_queries(LOOK):
        process.refresh()
    assert process.reloader.publications == 1


def test_refresh__finds_a_change_by_polling(process: Process, news: Any) -> None:
    move(news, "moved")
    process.refresh()
    assert reverse("news:story-list") == "/en/news/"
    process.now += 1.0
    process.refresh()
    assert reverse("news:story-list") == "/en/moved/"


def test_refresh__reads_twice__for_a_change(
    process: Process, news: Any, django_assert_num_queries: Any
) -> None:
    move(news, "moved")
    process.state.mark_dirty()
    with django_assert_num_queries(CHANGE):
        process.refresh()


def test_refresh__polls_at_every_request__with_interval_0(
    process: Process, news: Any, settings: Any, django_assert_num_queries: Any
) -> None:
    settings.CMS_URLRELOAD = {"POLL_INTERVAL": 0}
    process.now += 1.0
    with django_assert_num_queries(3 * LOOK):
        for _ in range(3):
            process.refresh()


def test_refresh__publishes_nothing__for_a_revision_without_a_change(
    process: Process, news: Any
) -> None:
    revision = mark_urlconf_as_changed()
    process.state.mark_dirty()
    process.refresh()
    assert process.state.applied is not None
    assert process.state.applied.revision == revision
    assert process.reloader.publications == 1


def test_refresh__publishes_again__when_somebody_emptied_the_pages(
    process: Process, news: Any
) -> None:
    appresolver.clear_app_resolvers()  # as django CMS does under runserver with DEBUG
    process.state.mark_dirty()
    process.refresh()
    assert [resolver.page_id for resolver in appresolver.APP_RESOLVERS] == [news.pk]


def test_refresh__stays_due__when_marked_while_it_ran(
    process: Process, news: Any, monkeypatch: Any
) -> None:
    read_token = process.transport.read_token

    def read_and_then_a_change_arrives(alias: str) -> Token:
        token = read_token(alias)
        move(news, "later")
        process.state.mark_dirty()
        return token

    monkeypatch.setattr(process.transport, "read_token", read_and_then_a_change_arrives)
    process.state.mark_dirty()
    process.refresh()
    monkeypatch.undo()
    assert process.state.dirty
    process.refresh()
    assert reverse("news:story-list") == "/en/later/"


def test_refresh__does_nothing__inside_a_transaction(process: Process, news: Any) -> None:
    with transaction.atomic():
        move(news, "uncommitted")
        process.state.mark_dirty()
        process.refresh()
        assert reverse("news:story-list") == "/en/news/"
        assert process.state.dirty
    process.refresh()
    assert reverse("news:story-list") == "/en/uncommitted/"


class TestStorm:
    """Changes in quick succession: those of an editor at once; of a script no more building than
    its share, and the last change never lost."""

    COST = 0.3

    @pytest.fixture(autouse=True)
    def _building_takes_time(self, process: Process, news: Any, monkeypatch: Any) -> None:
        def slow(*args: Any) -> Any:
            process.now += self.COST
            process.cpu += self.COST
            return build(*args)

        monkeypatch.setattr(reloader_module, "build", slow)

    def change(self, process: Process, page: Any, path: str) -> None:
        move(page, path)
        process.state.mark_dirty()
        process.refresh()

    def exhaust(self, process: Process, page: Any) -> None:
        """Change more often than anybody could by hand."""
        for number in range(reloader_module.BUILDS_BURST + 2):
            self.change(process, page, f"script-{number}")

    @pytest.mark.parametrize("cost", [0.3, 3.0, 30.0])
    def test_an_editor_is_never_held_back(self, process: Process, news: Any, cost: float) -> None:
        self.COST = cost
        for number in range(reloader_module.BUILDS_BURST):
            self.change(process, news, f"news-{number}")
            assert reverse("news:story-list") == f"/en/news-{number}/"

    def test_an_editor_is_never_held_back__all_day(self, process: Process, news: Any) -> None:
        for number in range(200):
            self.change(process, news, f"news-{number}")
            assert reverse("news:story-list") == f"/en/news-{number}/"
            process.now += 1 / reloader_module.BUILDS_RATE

    def test_an_own_commit_is_not_held_back__in_a_storm(self, process: Process, news: Any) -> None:
        self.exhaust(process, news)
        move(news, "by-an-editor")
        process.state.mark_dirty("own")
        process.refresh()
        assert reverse("news:story-list") == "/en/by-an-editor/"

    def test_no_more_is_built_than_the_share__and_the_last_is_there_in_the_end(
        self, process: Process, news: Any
    ) -> None:
        self.exhaust(process, news)
        began, before = process.now, process.reloader.publications
        for number in range(2_000):  # two minutes
            self.change(process, news, f"news-{number}")
            process.now += 0.06
        took = process.now - began
        built = (process.reloader.publications - before) * self.COST
        assert 0.2 * took < built < 0.35 * took
        process.now += 4 * self.COST + 0.1
        process.refresh()
        assert reverse("news:story-list") == "/en/news-1999/"

    def test_no_pause_is_long__whatever_a_build_takes(self, process: Process, news: Any) -> None:
        self.COST = 10.0
        self.exhaust(process, news)
        move(news, "last")
        process.state.mark_dirty()
        process.now += reloader_module.LONGEST_PAUSE
        process.refresh()
        assert reverse("news:story-list") == "/en/last/"

    def test_meanwhile_the_last_good_urls_serve__without_a_query(
        self, process: Process, news: Any, django_assert_num_queries: Any
    ) -> None:
        self.exhaust(process, news)
        old = reverse("news:story-list")
        move(news, "later")
        process.state.mark_dirty()
        with django_assert_num_queries(0):
            process.refresh()
        assert reverse("news:story-list") == old
        assert process.state.dirty

    def test_what_others_do_meanwhile__is_not_spent(
        self, process: Process, news: Any, monkeypatch: Any
    ) -> None:
        """A build that waits for other threads."""

        def waits(*args: Any) -> Any:
            process.now += 0.1
            process.cpu += 0.01
            return build(*args)

        monkeypatch.setattr(reloader_module, "build", waits)
        for number in range(100):
            self.change(process, news, f"news-{number}")
            assert reverse("news:story-list") == f"/en/news-{number}/"
            process.now += 0.03

    def test_a_look_that_finds_nothing_new_is_no_building(
        self, process: Process, news: Any, settings: Any, django_assert_num_queries: Any
    ) -> None:
        settings.CMS_URLRELOAD = {"POLL_INTERVAL": 0}
        process.now += 1.0
        with django_assert_num_queries(100 * LOOK):
            for _ in range(100):
                process.refresh()


def test_urls_reloaded__is_sent_after_a_publication(process: Process, make_page: Any) -> None:
    make_page("news", "NewsApphook")
    sent: list[dict[str, Any]] = []

    def receive(**kwargs: Any) -> None:
        sent.append({**kwargs, "served": process.state.applied})

    urls_reloaded.connect(receive)
    try:
        process.refresh()
        mark_urlconf_as_changed()  # nothing that routes
        process.state.mark_dirty()
        process.refresh()
    finally:
        urls_reloaded.disconnect(receive)
    assert [(message["pages"], message["reason"]) for message in sent] == [(1, "first")]
    assert sent[0]["served"] is not None


@pytest.fixture
def signalled() -> Iterator[list[Any]]:
    """What the signals have told: reasons of reloads, errors, names of what was counted."""
    told: list[Any] = []

    def receive(**kwargs: Any) -> None:
        told.append(kwargs.get("reason") or kwargs.get("error") or kwargs["name"])

    signals = (urls_reloaded, refresh_failed, counted)
    for signal in signals:
        signal.connect(receive)
    yield told
    for signal in signals:
        signal.disconnect(receive)


@pytest.mark.parametrize("reason", ["own", "announced", "asked", "heartbeat", "listening"])
def test_urls_reloaded__says_why(
    process: Process, news: Any, signalled: list[Any], reason: Any
) -> None:
    move(news, "moved")
    process.state.mark_dirty(reason)
    process.refresh()
    assert signalled == ["token_reads", reason]


def test_urls_reloaded__says_why__when_nothing_was_marked(
    process: Process, news: Any, signalled: list[Any]
) -> None:
    move(news, "moved")
    process.now += 1.0
    process.refresh()
    assert signalled == ["token_reads", "polled"]


def test_urls_reloaded__says_why__after_a_failure_too(
    process: Process, news: Any, signalled: list[Any], monkeypatch: Any
) -> None:
    move(news, "moved")
    process.state.mark_dirty("own")
    with monkeypatch.context() as patch:
        patch.setattr(NewsApphook, "get_urls", broken)
        process.refresh()
    process.now += 100.0
    process.state.mark_dirty("announced")
    process.refresh()
    [_, error, *rest] = signalled
    assert isinstance(error, ZeroDivisionError)
    assert rest == ["token_reads", "own"]


def test_refresh_failed__is_sent_for_each_attempt(
    process: Process, news: Any, signalled: list[Any], monkeypatch: Any
) -> None:
    monkeypatch.setattr(process.transport, "read_token", broken)
    for _ in range(3):
        process.now += 100.0
        process.refresh()
    assert [type(error) for error in signalled] == [ZeroDivisionError] * 3


def test_an_unchanged_request_signals_nothing(
    process: Process, news: Any, signalled: list[Any]
) -> None:
    for _ in range(10):
        process.refresh()
    assert signalled == []


class TestFailure:
    """Whatever fails, the last good URLs keep serving, it is told once, and tried again."""

    def test_get_urls_raises(
        self, process: Process, news: Any, monkeypatch: Any, caplog: Any
    ) -> None:
        caplog.set_level(logging.INFO, "cms_urlreload")
        monkeypatch.setattr(NewsApphook, "get_urls", broken)
        move(news, "moved")
        process.state.mark_dirty()
        for _ in range(5):
            process.refresh()
            process.now += 60
        assert reverse("news:story-list") == "/en/news/"
        [record] = [r for r in caplog.records if r.levelno >= logging.ERROR]
        assert "ZeroDivisionError: in get_urls()" in record.getMessage()
        assert record.exc_info is not None

        monkeypatch.undo()
        process.refresh()
        assert reverse("news:story-list") == "/en/moved/"
        assert "could be refreshed again" in caplog.records[-1].getMessage()

    def test_it_is_told_again__when_the_failure_is_another(
        self, process: Process, news: Any, monkeypatch: Any, caplog: Any
    ) -> None:
        def broken_otherwise(*args: Any, **kwargs: Any) -> Any:
            raise KeyError("other")

        process.state.mark_dirty()
        for get_urls in (broken, broken_otherwise, broken_otherwise):
            move(news, f"path-{get_urls.__name__}")
            monkeypatch.setattr(NewsApphook, "get_urls", get_urls)
            process.refresh()
            process.now += 60
        assert len([r for r in caplog.records if r.levelno >= logging.ERROR]) == 2

    def test_the_database_fails(
        self, process: Process, news: Any, monkeypatch: Any, caplog: Any
    ) -> None:
        def fail(*args: Any) -> Any:
            raise OperationalError("no")

        move(news, "moved")
        process.state.mark_dirty()
        with monkeypatch.context() as patch:
            patch.setattr(reloader_module, "build", fail)
            process.refresh()
        assert reverse("news:story-list") == "/en/news/"
        assert process.state.dirty
        process.now += 60
        process.refresh()
        assert reverse("news:story-list") == "/en/moved/"

    def test_it_waits_before_it_tries_again(
        self, process: Process, news: Any, monkeypatch: Any
    ) -> None:
        tries = []

        def fail(alias: str) -> Token:
            tries.append(process.now)
            raise ZeroDivisionError

        monkeypatch.setattr(process.transport, "read_token", fail)
        process.state.mark_dirty()
        for _ in range(100):
            process.refresh()
            process.now += 0.01
        # The first, and one or two after a back-off of 0.25 to 0.5 and then 0.5 to 1 seconds.
        assert 2 <= len(tries) <= 3

    @pytest.mark.django_db(transaction=True)
    def test_a_connection_that_died_is_replaced(self, process: Process, news: Any) -> None:
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_backend_pid()")
            [pid] = cursor.fetchone()
        self.terminate(pid)
        move_elsewhere(news, "moved")
        process.state.mark_dirty()
        process.refresh()
        assert reverse("news:story-list") == "/en/moved/"
        connection.ensure_connection()
        assert PageUrl.objects.filter(path="moved").exists()  # as the view's query would

    def terminate(self, pid: int) -> None:
        with other_connection() as other:
            other.execute("SELECT pg_terminate_backend(%s, 5000)", [pid])

    def test_an_apphook_that_was_never_built__does_not_fail_the_refresh(
        self, process: Process, make_page: Any, monkeypatch: Any
    ) -> None:
        make_page("news", "NewsApphook")
        monkeypatch.setattr(NewsApphook, "get_urls", broken)
        process.refresh()
        assert process.state.applied is None


def other_connection() -> Any:
    """A connection past Django's."""
    return psycopg.connect(dsn(), autocommit=True)


def move_elsewhere(page: Any, path: str) -> None:
    with other_connection() as other:
        other.execute("UPDATE cms_pageurl SET path = %s WHERE page_id = %s", [path, page.pk])


class TestThreads:
    """One thread refreshes; the others wait for it, and go on with its result."""

    def run(self, count: int, target: Any) -> None:
        def body() -> None:
            try:
                target()
            finally:
                connection.close()

        threads = [threading.Thread(target=body) for _ in range(count)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)
            assert not thread.is_alive()

    def test_one_builds_and_all_have_the_result(
        self, process: Process, news: Any, monkeypatch: Any
    ) -> None:
        builds = []
        waiting = threading.Barrier(8)

        def slow_build(*args: Any) -> Any:
            builds.append(args)
            threading.Event().wait(0.2)  # a slow query: the others come meanwhile
            return build(*args)

        looks = []
        read_token = process.transport.read_token

        def counted(alias: str) -> Token:
            looks.append(alias)
            return read_token(alias)

        monkeypatch.setattr(reloader_module, "build", slow_build)
        monkeypatch.setattr(process.transport, "read_token", counted)
        move(news, "moved")
        process.state.mark_dirty()
        answers = []

        def request() -> None:
            waiting.wait(10)
            process.refresh()
            with override("en"):
                answers.append(reverse("news:story-list"))

        self.run(8, request)
        assert answers == ["/en/moved/"] * 8
        assert len(builds) == 1
        assert len(looks) == 1

    def test_a_get_urls_that_asks_for_a_refresh_does_not_wait_for_itself(
        self, process: Process, news: Any, monkeypatch: Any
    ) -> None:
        get_urls = NewsApphook.get_urls

        def curious(self: Any, *args: Any, **kwargs: Any) -> Any:
            process.refresh()
            return get_urls(self, *args, **kwargs)

        monkeypatch.setattr(NewsApphook, "get_urls", curious)
        move(news, "moved")
        process.state.mark_dirty()
        process.refresh()
        assert reverse("news:story-list") == "/en/moved/"

    def test_a_request_does_not_wait_for_ever(
        self, process: Process, news: Any, settings: Any, caplog: Any
    ) -> None:
        settings.CMS_URLRELOAD = {"REFRESH_TIMEOUT": 0.1}
        hangs = threading.Thread(target=process.reloader._flights.begin, args=[Flight(process.now)])
        hangs.start()  # and never says that it is over
        hangs.join()
        process.state.mark_dirty()
        for _ in range(3):
            process.refresh()
        assert caplog.text.count("slow get_urls()") == 1
        process.reloader.reset_after_fork()
        process.refresh()
        assert not process.state.dirty

    def test_a_request_does_not_wait__for_an_old_refresh(
        self, process: Process, news: Any, monkeypatch: Any
    ) -> None:
        flight = Flight(process.now - 2.0)
        hangs = threading.Thread(target=process.reloader._flights.begin, args=[flight])
        hangs.start()
        hangs.join()
        waited: list[float] = []

        def wait(self: Flight, seconds: float) -> bool:
            waited.append(seconds)
            return False

        monkeypatch.setattr(Flight, "wait", wait)
        process.state.mark_dirty()
        process.refresh()
        assert waited == [0.0]


def test_refresh__is_never_seen_half_done(process: Process, news: Any) -> None:
    """Readers in four threads, through 100 reloads: one state or the other, and never none."""
    stop = threading.Event()
    wrong: list[Any] = []
    paths = ("news", "moved")

    def read() -> None:
        with override("en"):
            while not stop.is_set():
                try:
                    url = reverse("news:story-list")
                    if url not in ("/en/news/", "/en/moved/"):
                        wrong.append(url)
                    if not appresolver.APP_RESOLVERS:
                        wrong.append("no pages")
                    # Stays where it is through all reloads.
                    if resolve("/en/events/").namespace != "events":
                        wrong.append("no events")
                except NoReverseMatch as error:
                    wrong.append(error)

    from cms.api import create_page

    create_page(
        "Events",
        "demo/page.html",
        "en",
        slug="events",
        apphook="EventsApphook",
        apphook_namespace="events",
    )
    process.state.mark_dirty()
    process.refresh()
    threads = [threading.Thread(target=read) for _ in range(4)]
    for thread in threads:
        thread.start()
    for number in range(100):
        move(news, paths[number % 2])
        process.state.mark_dirty()
        process.refresh()
    stop.set()
    for thread in threads:
        thread.join(30)
    assert wrong == []
    # Each of the changes but the first, which moved nothing, and the two before them.
    assert process.reloader.publications == 101
