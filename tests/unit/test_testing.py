"""What people's own tests use. Each test begins with a site whose URLs have been used before, and
without an apphook, as all tests but the first of a run do."""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from cms import appresolver
from cms.api import create_page
from cms.models import PageUrl
from cms.signals.apphook import trigger_restart
from django.db import IntegrityError, connection, transaction
from django.http import HttpRequest, HttpResponse
from django.test import AsyncClient, Client, TestCase, TransactionTestCase
from django.urls import NoReverseMatch, resolve, reverse
from django.utils.translation import override

from cms_urlreload import process
from cms_urlreload.middleware import UrlReloadMiddleware
from cms_urlreload.pacing import Allowance
from cms_urlreload.testing import current_urls
from cms_urlreload.urltree import Publisher
from tests.demo.news.cms_apps import NewsApphook

OLD = "/en/old/archive/2020/"
NEWS = "/en/news/archive/2026/"


@pytest.fixture(autouse=True)
def _used_site(clean_urls: None) -> Iterator[None]:
    Publisher().publish([])
    with override("en"):
        yield


def make_news(slug: str = "news") -> Any:
    return create_page(
        slug.title(),
        "demo/page.html",
        "en",
        slug=slug,
        apphook="NewsApphook",
        apphook_namespace="news",
    )


def url_of_news() -> str | None:
    try:
        return reverse("news:archive", args=[2026])
    except NoReverseMatch:
        return None


def status(path: str = NEWS) -> int:
    return Client().get(path).status_code


#: The test's transaction stays open; or there is none.
in_both_kinds_of_tests = pytest.mark.parametrize(
    "is_open",
    [
        pytest.param(True, marks=pytest.mark.django_db),
        pytest.param(False, marks=pytest.mark.django_db(transaction=True)),
    ],
    ids=["open transaction", "commits"],
)


@pytest.mark.django_db
def test_without_it__a_page_of_an_open_transaction_has_no_url() -> None:
    make_news()
    assert status() == 404
    assert url_of_news() is None


@in_both_kinds_of_tests
def test_a_request_finds_what_was_saved_before_it(is_open: bool) -> None:
    assert connection.in_atomic_block == is_open
    with current_urls():
        assert status() == 404
        make_news()
        assert status() == 200
        assert url_of_news() == NEWS


@in_both_kinds_of_tests
def test_refresh__before_a_reverse_without_a_request(is_open: bool) -> None:
    with current_urls() as refresh:
        make_news()
        assert url_of_news() is None
        refresh()
        assert url_of_news() == NEWS
        assert resolve(NEWS).namespace == "news"


@in_both_kinds_of_tests
def test_a_page_that_was_there_before(is_open: bool) -> None:
    make_news()
    with current_urls():
        assert status() == 200


@in_both_kinds_of_tests
def test_a_change__and_a_delete(is_open: bool) -> None:
    with current_urls():
        page = make_news()
        assert status() == 200
        url = page.urls.get(language="en")
        url.path = "moved"
        url.save()
        assert (status(), status("/en/moved/archive/2026/")) == (404, 200)
        page.delete()
        assert status("/en/moved/archive/2026/") == 404


@in_both_kinds_of_tests
def test_refresh__after_what_no_signal_tells_of(is_open: bool) -> None:
    with current_urls() as refresh:
        page = make_news()
        assert status() == 200
        PageUrl.objects.filter(page=page).update(path="moved")
        refresh()
        assert url_of_news() == "/en/moved/archive/2026/"
        with contextlib.suppress(IntegrityError), transaction.atomic():
            make_news("gone")
            page.delete()
            refresh()
            assert url_of_news() == "/en/gone/archive/2026/"
            raise IntegrityError
        refresh()
        assert url_of_news() == "/en/moved/archive/2026/"


@pytest.mark.django_db
def test_a_request_without_a_change__makes_no_query(
    settings: Any, django_assert_num_queries: Any
) -> None:
    """However long the test takes: else assertNumQueries() would fail from time to time."""
    settings.CMS_URLRELOAD = {"POLL_INTERVAL": 0}
    answer = HttpResponse()
    alone = UrlReloadMiddleware(lambda request: answer)
    with current_urls() as refresh:
        make_news()
        assert status() == 200
        alone(HttpRequest())  # at the end of the one before, django CMS has asked for a reload
        for _ in range(3):
            with django_assert_num_queries(0):
                assert alone(HttpRequest()) is answer
        with django_assert_num_queries(1):
            refresh()


@pytest.mark.django_db
def test_many_changes__are_not_taken_for_a_storm(monkeypatch: Any) -> None:
    monkeypatch.setattr(process.reloader, "_builds", Allowance(0.0, 0.001))
    with current_urls():
        page = make_news()
        url = page.urls.get(language="en")
        for number in range(60):
            url.path = f"news-{number}"
            url.save()
            assert status(f"/en/news-{number}/archive/2026/") == 200


@pytest.mark.django_db(transaction=True)
class TestAfterwards:
    """The URLs are what they were before."""

    def test_none(self) -> None:
        with transaction.atomic():
            with current_urls():
                make_news()
                assert status() == 200
            assert status() == 404
            assert url_of_news() is None
            transaction.set_rollback(True)
        assert status() == 404

    def test_others__that_were_committed(self, django_assert_num_queries: Any) -> None:
        old = make_news("old")
        assert status(OLD) == 200
        applied = process.state.applied
        resolvers = list(appresolver.APP_RESOLVERS)
        with transaction.atomic():
            with current_urls():
                make_news("other").delete()
                old.delete()
                make_news()
                assert (status(OLD), status()) == (404, 200)
            assert url_of_news() == "/en/old/archive/2026/"
            transaction.set_rollback(True)
        assert process.state.applied == applied
        assert resolvers == appresolver.APP_RESOLVERS  # the same ones: nothing is built again
        assert not process.reloader.inside_transactions
        assert (status(OLD), status()) == (200, 404)
        process.state.mark_dirty()
        with django_assert_num_queries(3):  # BEGIN, the token, COMMIT
            process.refresh()

    def test_a_process_goes_on_to_look(self) -> None:
        with current_urls():
            make_news()
            assert status() == 200
        assert process.state.is_due(0.0)  # whatever the time
        assert status() == 200  # it was committed
        assert process.state.lease_until < float("inf")

    def test_when_the_test_fails(self) -> None:
        with pytest.raises(ZeroDivisionError), transaction.atomic():
            with current_urls() as refresh:
                make_news()
                refresh()
                raise ZeroDivisionError
        assert url_of_news() is None

    def test_when_the_urls_were_thrown_out_in_between(self) -> None:
        make_news("old")
        assert status(OLD) == 200
        with current_urls() as refresh:
            appresolver.clear_app_resolvers()
            refresh()
        assert status(OLD) == 200

    def test_what_django_cms_has_built_at_the_first_use_of_its_urls(self) -> None:
        """As if nothing of ours had been used in the process before."""
        with transaction.atomic():
            with current_urls():
                appresolver.APP_RESOLVERS.append(object())
            assert appresolver.APP_RESOLVERS == []

    def test_one_in_another(self) -> None:
        with transaction.atomic():
            with current_urls():
                make_news("old")
                assert status(OLD) == 200
                with current_urls() as refresh:
                    PageUrl.objects.update(path="news")
                    refresh()
                    assert status() == 200
                assert url_of_news() == "/en/old/archive/2026/"
                assert process.reloader.inside_transactions
                assert process.state.lease_until == float("inf")
            assert url_of_news() is None
            transaction.set_rollback(True)


@pytest.mark.django_db
class TestFailure:
    """A get_urls() that raises."""

    @pytest.fixture(autouse=True)
    def _broken(self, monkeypatch: Any) -> None:
        make_news()
        self.mend = monkeypatch.undo
        empty: dict[str, Any] = {}
        self.break_with(monkeypatch, lambda: empty["in get_urls()"])

    def break_with(self, monkeypatch: Any, fail: Callable[[], Any]) -> None:
        def broken(*args: Any, **kwargs: Any) -> Any:
            fail()

        monkeypatch.setattr(NewsApphook, "get_urls", broken)

    def test_refresh__raises(self) -> None:
        with current_urls() as refresh:
            for _ in range(2):
                with pytest.raises(RuntimeError, match=r"KeyError: 'in get_urls\(\)'"):
                    refresh()
            self.mend()
            refresh()  # at once: nobody waits for a back-off
            assert url_of_news() == NEWS

    def test_it_is_forgotten_afterwards(self) -> None:
        with current_urls():
            process.refresh()
            assert process.reloader.failure is not None
        assert process.reloader.failure is None
        assert process.reloader._next_at == 0.0

    def test_an_error_of_the_database__is_told_as_what_it_is(self, monkeypatch: Any) -> None:
        def ask() -> None:
            with connection.cursor() as cursor:
                cursor.execute("SELECT nothing")

        self.mend()
        self.break_with(monkeypatch, ask)
        # As people would: the transaction is of no use afterwards.
        told = r"column .nothing. does not exist"
        with pytest.raises(RuntimeError, match=told), transaction.atomic():
            with current_urls() as refresh:
                refresh()


class TestWithPytest:
    """The fixture. No test knows whether it comes first."""

    @pytest.mark.django_db
    @pytest.mark.parametrize("slug", ["one", "two", "three"])
    def test_in_a_transaction(self, current_urls: Callable[[], None], slug: str) -> None:
        self.check(current_urls, slug)

    @pytest.mark.django_db(transaction=True)
    @pytest.mark.parametrize("slug", ["four", "five"])
    def test_with_commits(self, current_urls: Callable[[], None], slug: str) -> None:
        self.check(current_urls, slug)

    def check(self, refresh: Callable[[], None], slug: str) -> None:
        assert url_of_news() is None
        make_news(slug)
        refresh()
        assert url_of_news() == f"/en/{slug}/archive/2026/"
        assert status(f"/en/{slug}/archive/2026/") == 200


class TestWithUnittest(TestCase):
    """Django's own, in which nothing is committed."""

    @classmethod
    def setUpTestData(cls) -> None:
        make_news("old")

    def setUp(self) -> None:
        stack = contextlib.ExitStack()  # Python 3.11 and newer have enterContext()
        self.addCleanup(stack.close)
        self.refresh = stack.enter_context(current_urls())

    def test_what_the_class_has_made(self) -> None:
        assert self.client.get(OLD).status_code == 200

    def test_what_the_test_makes(self) -> None:
        assert url_of_news() is None
        PageUrl.objects.update(path="older")
        self.refresh()
        assert url_of_news() == "/en/older/archive/2026/"

    def test_in_a_callback_of_a_commit(self) -> None:
        with self.captureOnCommitCallbacks(execute=True):
            PageUrl.objects.get(path="old").save()
        make_news()
        assert self.client.get(NEWS).status_code == 200

    async def test_a_request_to_an_asynchronous_site(self) -> None:
        # Else django CMS would do it at the end of the request, in a thread, on a connection that
        # nobody closes.
        await sync_to_async(trigger_restart)()
        assert (await AsyncClient().get(OLD)).status_code == 200


class TestWithUnittestAndCommits(TransactionTestCase):
    def test_a_page(self) -> None:
        with current_urls():
            with transaction.atomic():
                make_news()
                assert self.client.get(NEWS).status_code == 200
            assert self.client.get(NEWS).status_code == 200


def test_without_a_database__it_asks_nothing() -> None:
    with current_urls():
        pass


@pytest.mark.django_db
def test_no_thread_starts__unless_it_is_asked_for(caplog: Any) -> None:
    caplog.set_level(logging.DEBUG, "cms_urlreload")
    with current_urls():
        make_news()
        assert status() == 200
        names = {thread.name for thread in threading.enumerate()}
        assert "cms-urlreload-listener" not in names
        assert process.get_transport().mode.current.name == "poll"
        assert "test run" in process.get_transport().mode.current.reason
