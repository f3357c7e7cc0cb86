"""What is cached for some URLs is not served for others; on every supported django CMS, because
what is wrapped is private."""

from __future__ import annotations

from typing import Any

import pytest
from cms.cache import page as page_cache
from django.contrib.auth.models import AnonymousUser
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


@pytest.fixture
def request_() -> Any:
    request: Any = RequestFactory().get("/en/")
    request.user = AnonymousUser()
    request.LANGUAGE_CODE = "en"
    return request


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
    own = page_cache._page_cache_key.__wrapped__
    assert own.__module__ == page_cache.__name__
    assert not hasattr(own, "__wrapped__")
