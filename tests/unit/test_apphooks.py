from __future__ import annotations

from typing import Any

import pytest
from cms import appresolver
from cms.appresolver import _get_app_patterns
from cms.models import Page, PageUrl
from django.contrib.auth.models import AnonymousUser
from django.contrib.sites.models import Site
from django.core.exceptions import ImproperlyConfigured
from django.http import Http404
from django.test import RequestFactory, override_settings
from django.urls import URLResolver
from django.utils.translation import override

from cms_urlreload.apphooks import AppTree, build
from tests.demo.news.cms_apps import NewsApphook
from tests.support.versions import needs_sites_by_host, until_cms

pytestmark = pytest.mark.django_db


def described(resolvers: list[Any]) -> list[Any]:
    """All that decides what resolvers match, and what they lead to."""

    def describe(pattern: Any) -> Any:
        what = (isinstance(pattern, URLResolver), pattern.pattern.regex.pattern, pattern.page_id)
        if isinstance(pattern, URLResolver):
            below = [describe(each) for each in pattern.url_patterns]
            return (*what, pattern.app_name, pattern.namespace, below)
        return (*what, pattern.name, pattern.lookup_str, pattern.default_args)

    found = []
    for resolver in resolvers:
        for language in resolver.url_patterns_dict:
            with override(language):
                found.append((language, describe(resolver)))
    return found


def test_build__finds_what_django_cms_finds(make_page: Any, monkeypatch: Any) -> None:
    parent = make_page("parent")
    make_page("news", "NewsApphook", parent=parent)
    make_page("events", "EventsApphook")
    make_page("again", "NewsApphook", namespace="again")
    make_page("plain")
    monkeypatch.setattr(appresolver, "APP_RESOLVERS", [])
    theirs = _get_app_patterns(Site.objects.get_current())
    assert described(build("default").resolvers) == described(theirs)


@needs_sites_by_host
@override_settings()
def test_build__finds_what_django_cms_finds__without_site_id(
    make_page: Any, monkeypatch: Any, settings: Any
) -> None:
    make_page("news", "NewsApphook")
    make_page("there", "EventsApphook", site=Site.objects.create(domain="b.test", name="b"))
    del settings.SITE_ID
    monkeypatch.setattr(appresolver, "APP_RESOLVERS", [])
    theirs = _get_app_patterns(None)
    assert len(theirs) == 2
    assert described(build("default").resolvers) == described(theirs)


@until_cms((5, 0), "newer ones find the site by the host of the request")
def test_build__refuses_to_do_without_site_id(settings: Any) -> None:
    del settings.SITE_ID
    with pytest.raises(ImproperlyConfigured, match="SITE_ID"):
        build("default")


def test_build__leaves_out_pages_of_other_sites(make_page: Any) -> None:
    make_page("there", "EventsApphook", site=Site.objects.create(domain="b.test", name="b"))
    assert build("default").resolvers == []


def test_build__publishes_nothing(make_page: Any) -> None:
    make_page("news", "NewsApphook")
    before = list(appresolver.APP_RESOLVERS)
    build("default")
    assert before == appresolver.APP_RESOLVERS


@pytest.mark.parametrize("pages", [1, 4])
def test_build__makes_one_query(pages: int, make_page: Any, django_assert_num_queries: Any) -> None:
    for number in range(pages):
        make_page(f"news{number}", "NewsApphook")
    with django_assert_num_queries(1):
        tree = build("default")
    assert len(tree.resolvers) == pages


def test_build__passes_over_an_apphook_that_is_registered_no_more(make_page: Any) -> None:
    make_page("news", "NewsApphook")
    page = make_page("gone", "EventsApphook")
    Page.objects.filter(pk=page.pk).update(application_urls="NotThereApphook")
    with pytest.warns(UserWarning, match="NotThereApphook"):
        assert len(build("default").resolvers) == 1


def test_build__raises_what_get_urls_raises(make_page: Any, monkeypatch: Any) -> None:
    make_page("news", "NewsApphook")

    def broken(self: Any, *args: Any, **kwargs: Any) -> Any:
        raise ZeroDivisionError

    monkeypatch.setattr(NewsApphook, "get_urls", broken)
    with pytest.raises(ZeroDivisionError):
        build("default")


class TestReuse:
    """What is built again when one page of two has changed."""

    @pytest.fixture
    def pages(self, make_page: Any) -> list[Any]:
        return [make_page("news", "NewsApphook"), make_page("events", "EventsApphook")]

    def reused(self, before: AppTree, after: AppTree) -> dict[int, bool]:
        return {
            pk: pk in before.hooks and before.hooks[pk].resolver is hook.resolver
            for pk, hook in after.hooks.items()
        }

    def test_nothing__when_nothing_changed(self, pages: list[Any]) -> None:
        before = build("default")
        assert set(self.reused(before, build("default", before)).values()) == {True}

    def test_the_page__when_its_path_changed(self, pages: list[Any]) -> None:
        before = build("default")
        PageUrl.objects.filter(page=pages[0]).update(path="other")
        after = build("default", before)
        assert self.reused(before, after) == {pages[0].pk: False, pages[1].pk: True}

    def test_the_page__when_its_namespace_changed(self, pages: list[Any]) -> None:
        before = build("default")
        Page.objects.filter(pk=pages[1].pk).update(application_namespace="other")
        after = build("default", before)
        assert self.reused(before, after) == {pages[0].pk: True, pages[1].pk: False}

    def test_the_page__when_its_get_urls_returns_other_patterns(
        self, pages: list[Any], monkeypatch: Any
    ) -> None:
        before = build("default")
        monkeypatch.setattr(
            NewsApphook, "get_urls", lambda *args, **kwargs: ["tests.demo.news.urls"]
        )
        after = build("default", before)
        assert self.reused(before, after) == {pages[0].pk: False, pages[1].pk: True}

    def test_the_page__when_somebody_appended_to_its_patterns(
        self, pages: list[Any], monkeypatch: Any
    ) -> None:
        from tests.demo.events import urls

        before = build("default")
        monkeypatch.setattr(urls, "urlpatterns", [*urls.urlpatterns, urls.urlpatterns[0]])
        after = build("default", before)
        assert self.reused(before, after) == {pages[0].pk: True, pages[1].pk: False}


class TestPermission:
    """A page is looked up once more when its view is called, and may be found no more."""

    @pytest.fixture
    def view(self, make_page: Any) -> Any:
        self.page = make_page("events", "EventsApphook", login_required=True)
        [resolver] = build("default").resolvers
        with override("en"):
            return resolver.resolve("events/").func

    def request(self, current_page: Any) -> Any:
        request: Any = RequestFactory().get("/en/events/")
        request.user = AnonymousUser()
        request.current_page = current_page
        return request

    def test_login_is_asked_for(self, view: Any) -> None:
        assert view(self.request(self.page)).status_code == 302

    def test_login_is_asked_for__when_the_page_is_not_found_by_its_path(self, view: Any) -> None:
        request = self.request(None)
        assert view(request).status_code == 302
        assert request.current_page == self.page

    def test_nothing_is_shown__when_the_page_is_gone(self, view: Any) -> None:
        self.page.delete()
        with pytest.raises(Http404):
            view(self.request(None))

    def test_it_is_not_checked__for_an_app_that_says_so(
        self, make_page: Any, monkeypatch: Any
    ) -> None:
        monkeypatch.setattr(NewsApphook, "permissions", False)
        make_page("news", "NewsApphook", login_required=True)
        [resolver] = build("default").resolvers
        with override("en"):
            view = resolver.resolve("news/").func
        assert view(self.request(None)).status_code == 200
