from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest
from asgiref.sync import iscoroutinefunction
from django.core.exceptions import ImproperlyConfigured
from django.http import HttpRequest, HttpResponse

from cms_urlreload import middleware as module
from cms_urlreload.middleware import UrlReloadMiddleware
from cms_urlreload.state import State


@pytest.fixture
def state(monkeypatch: Any) -> State:
    state = State()
    monkeypatch.setattr(module, "state", state)
    return state


@pytest.fixture
def refreshes(monkeypatch: Any, state: State) -> list[str]:
    """The names of the threads in which it was refreshed."""
    done: list[str] = []

    def refresh() -> None:
        done.append(threading.current_thread().name)
        state.settle(state.marks)
        state.extend_lease(float("inf"))

    async def arefresh() -> None:
        refresh()

    monkeypatch.setattr(module, "refresh", refresh)
    monkeypatch.setattr(module, "arefresh", arefresh)
    return done


def test_sync__refreshes_before_the_answer_and_only_when_due(
    state: State, refreshes: list[str]
) -> None:
    order: list[str] = []

    def view(request: HttpRequest) -> HttpResponse:
        order.append(f"after {len(refreshes)}")
        return HttpResponse()

    middleware = UrlReloadMiddleware(view)
    assert not iscoroutinefunction(middleware)
    for _ in range(3):
        middleware(HttpRequest())
    state.mark_dirty()
    middleware(HttpRequest())
    state.expire_lease()
    middleware(HttpRequest())
    assert order == ["after 1", "after 1", "after 1", "after 2", "after 3"]


def test_async__refreshes_only_when_due(state: State, refreshes: list[str]) -> None:
    async def view(request: HttpRequest) -> HttpResponse:
        return HttpResponse(threading.current_thread().name)

    middleware: Any = UrlReloadMiddleware(view)
    assert iscoroutinefunction(middleware)

    async def requests() -> list[str]:
        return [(await middleware(HttpRequest())).content.decode() for _ in range(3)]

    here = threading.current_thread().name
    assert asyncio.run(requests()) == [here] * 3
    assert len(refreshes) == 1


def test_a_wrong_setting_stops_the_server(settings: Any) -> None:
    settings.CMS_URLRELOAD = {"POLL_INTERVAL": -1}
    with pytest.raises(ImproperlyConfigured, match="POLL_INTERVAL"):
        UrlReloadMiddleware(lambda request: HttpResponse())
