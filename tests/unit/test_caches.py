"""What is cached for some URLs is not served for others; on every supported django CMS, because
what is wrapped is private."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from cms import appresolver
from cms.api import add_plugin
from cms.cache import invalidate_cms_page_cache
from cms.cache import page as page_cache
from cms.cache import placeholder as placeholder_cache
from cms.cache.page import get_page_url_cache, set_page_url_cache
from cms.cache.placeholder import get_placeholder_cache, set_placeholder_cache
from cms.models import Placeholder
from cms.plugin_base import CMSPluginBase
from cms.plugin_pool import plugin_pool
from cms.plugin_rendering import ContentRenderer
from cms.toolbar.toolbar import CMSToolbar
from django.contrib.auth.models import AnonymousUser
from django.template import Context, Template, engines
from django.test import RequestFactory
from menus.menu_pool import MenuRenderer, cache, menu_pool
from menus.models import CacheKey

from cms_urlreload import process
from cms_urlreload.state import State, Token

OLD, NEW = Token("", "old"), Token("", "new")


@pytest.fixture
def state(monkeypatch: Any) -> State:
    monkeypatch.setattr(process.state, "applied", OLD)
    return process.state


def new_request() -> Any:
    request: Any = RequestFactory().get("/en/")
    request.user = AnonymousUser()
    request.session = {}
    request.LANGUAGE_CODE = "en"
    request.current_page = None
    return request


@pytest.fixture
def request_() -> Any:
    return new_request()


@pytest.mark.django_db
def test_menus__of_other_urls_are_other_menus(state: State, request_: Any) -> None:
    renderer = MenuRenderer(menu_pool, request_)
    old = renderer.cache_key
    assert old.endswith(f":{OLD.short}")
    assert renderer.cache_key == old
    state.applied = NEW
    assert renderer.cache_key != old
    state.applied = None
    assert old.startswith(renderer.cache_key)


@pytest.mark.django_db
def test_menus__are_cleared_as_ever(state: State, request_: Any) -> None:
    renderer = MenuRenderer(menu_pool, request_)
    renderer._build_nodes()
    assert [row.key for row in CacheKey.objects.all()] == [renderer.cache_key]
    menu_pool.clear(all=True)
    assert CacheKey.objects.count() == 0
    assert cache.get(renderer.cache_key) is None


@pytest.mark.django_db
def test_pages__of_other_urls_are_other_pages(state: State, request_: Any) -> None:
    old = page_cache._page_cache_key(request_)
    state.applied = NEW
    another: Any = RequestFactory().get("/en/")
    assert page_cache._page_cache_key(another) != old


@pytest.mark.django_db
def test_pages__are_written_for_the_urls_that_the_request_began_with(
    state: State, request_: Any
) -> None:
    asked = page_cache._page_cache_key(request_)
    state.applied = NEW  # by another request, while this one renders
    assert page_cache._page_cache_key(request_) == asked


def test_they_are_wrapped_once() -> None:
    for wrapped, module in (
        (page_cache._page_cache_key, page_cache),
        (page_cache._page_url_key, page_cache),
        (placeholder_cache._get_placeholder_cache_key, placeholder_cache),
        (appresolver.applications_page_check, appresolver),
    ):
        assert wrapped.__wrapped__.__module__ == module.__name__
        assert not hasattr(wrapped.__wrapped__, "__wrapped__")


@pytest.fixture
def _cached(settings: Any) -> Iterator[None]:
    settings.CMS_PLACEHOLDER_CACHE = True
    settings.CMS_CACHE_DURATIONS = {"content": 60, "menus": 60, "permissions": 60}
    cache.clear()
    yield
    cache.clear()


@pytest.mark.django_db
@pytest.mark.usefixtures("_cached")
class TestPlaceholders:
    @pytest.fixture
    def placeholder(self) -> Placeholder:
        return Placeholder.objects.create(slot="content")

    def read(self, placeholder: Placeholder, request: Any = None) -> Any:
        return get_placeholder_cache(placeholder, "en", 1, request or new_request())

    def write(self, placeholder: Placeholder, content: Any, request: Any = None) -> None:
        set_placeholder_cache(placeholder, "en", 1, content, request or new_request())

    def test_of_other_urls__are_others(self, state: State, placeholder: Placeholder) -> None:
        self.write(placeholder, "old")
        assert self.read(placeholder) == "old"
        state.applied = NEW
        assert self.read(placeholder) is None
        self.write(placeholder, "new")
        assert self.read(placeholder) == "new"
        state.applied = OLD
        assert self.read(placeholder) == "old"
        state.applied = None
        assert self.read(placeholder) is None

    def test_are_cleared_for_all_urls(self, state: State, placeholder: Placeholder) -> None:
        for token in (OLD, NEW, None):
            state.applied = token
            self.write(placeholder, "cached")
            assert self.read(placeholder) == "cached"
        placeholder.clear_cache("en", site_id=1)
        for token in (OLD, NEW, None):
            state.applied = token
            assert self.read(placeholder) is None

    def test_are_written_for_the_urls_that_the_request_began_with(
        self, state: State, placeholder: Placeholder
    ) -> None:
        request = new_request()
        assert self.read(placeholder, request) is None
        state.applied = NEW  # by another request, while this one renders
        self.write(placeholder, "old", request)
        assert self.read(placeholder) is None
        state.applied = OLD
        assert self.read(placeholder) == "old"

    def test_of_no_request__are_told_apart_too(
        self, state: State, placeholder: Placeholder
    ) -> None:
        old = placeholder_cache._get_placeholder_cache_key(placeholder, "en", 1, None, soft=True)
        state.applied = NEW
        new = placeholder_cache._get_placeholder_cache_key(placeholder, "en", 1, None, soft=True)
        assert old != new

    def test_a_key_is_short_enough_for_memcached(
        self, state: State, placeholder: Placeholder, settings: Any
    ) -> None:
        settings.CMS_CACHE_PREFIX = "p" * 150
        key = placeholder_cache._get_placeholder_cache_key(placeholder, "en", 1, None, soft=True)
        assert len(key) < 240

    def test_a_link_of_a_plugin__is_rendered_anew(
        self, state: State, placeholder: Placeholder
    ) -> None:
        """As a page renders it, by the renderer that static aliases and template tags use too."""
        links = iter(["/en/old/", "/en/new/"])

        class LinkPlugin(CMSPluginBase):  # type: ignore[misc]  # untyped base
            name = "Link"

            def get_render_template(self, *args: Any) -> Any:
                return engines["django"].from_string(next(links))

        plugin_pool.register_plugin(LinkPlugin)
        try:
            add_plugin(placeholder, "LinkPlugin", "en")
            assert self.render(placeholder) == "/en/old/"
            assert self.render(placeholder) == "/en/old/"
            state.applied = NEW
            assert self.render(placeholder) == "/en/new/"
            assert self.render(placeholder) == "/en/new/"
        finally:
            plugin_pool.unregister_plugin(LinkPlugin)

    def render(self, placeholder: Placeholder) -> str:
        request = new_request()
        placeholder = Placeholder.objects.get(pk=placeholder.pk)
        context = Context({"request": request, "cms_content_renderer": None})
        context.template = Template("")
        request.toolbar = CMSToolbar(request)
        renderer = ContentRenderer(request)
        return str(renderer.render_placeholder(placeholder, context, "en", use_cache=True))


@pytest.mark.django_db
@pytest.mark.usefixtures("_cached")
def test_urls_of_pages__of_other_urls_are_others(state: State) -> None:
    """What {% page_url %} has found."""
    set_page_url_cache("news", "en", 1, "/en/old/")
    assert get_page_url_cache("news", "en", 1) == "/en/old/"
    state.applied = NEW
    assert get_page_url_cache("news", "en", 1) is None
    state.applied = OLD
    invalidate_cms_page_cache()
    assert get_page_url_cache("news", "en", 1) is None
