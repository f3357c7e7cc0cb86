"""``python -m tests.bench.checking``: a process that listens, and says what a request costs in a
middleware that finds nothing changed: in an empty one, in this package's, in django CMS's.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any

import django
from asgiref.sync import async_to_sync, markcoroutinefunction, sync_to_async
from django.http import HttpRequest, HttpResponse

from tests.bench.subject import serve
from tests.support.waiting import wait_until

_RESPONSE = HttpResponse()


def get_response(request: HttpRequest) -> HttpResponse:
    return _RESPONSE


async def aget_response(request: HttpRequest) -> HttpResponse:
    return _RESPONSE


class Empty:
    """As little as a middleware can do."""

    def __init__(self, get_response: Callable[[HttpRequest], Any]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> Any:
        return self.get_response(request)


class AsyncEmpty:
    """The same, under ASGI."""

    def __init__(self, get_response: Callable[[HttpRequest], Any]) -> None:
        self.get_response = get_response
        markcoroutinefunction(self)

    async def __call__(self, request: HttpRequest) -> Any:
        return await self.get_response(request)


def listen() -> None:
    """Become a process that is told of changes, and knows of none."""
    from cms_urlreload.process import get_transport, refresh, state

    def settled() -> bool:
        if state.is_due(time.monotonic()):
            refresh()
        return get_transport().mode.current.name == "push" and not state.dirty

    wait_until(settled, 20, "the listener")


def sync(kind: str, calls: int) -> float:
    """Return the nanoseconds of one call."""
    from cms.middleware.utils import ApphookReloadMiddleware

    from cms_urlreload.middleware import UrlReloadMiddleware

    classes = {"empty": Empty, "ours": UrlReloadMiddleware, "core": ApphookReloadMiddleware}
    middleware = classes[kind](get_response)
    request = HttpRequest()
    began = time.perf_counter_ns()
    for _ in range(calls):
        middleware(request)
    ended = time.perf_counter_ns()
    _see_that_nothing_changed()
    return (ended - began) / calls


def under_asgi(kind: str, calls: int) -> float:
    """The same, awaited in an event loop; django CMS's in a thread, as Django does it."""
    return asyncio.run(_in_loop(kind, calls))


async def _in_loop(kind: str, calls: int) -> float:
    middleware = _async_middleware(kind)
    request = HttpRequest()
    began = time.perf_counter_ns()
    for _ in range(calls):
        await middleware(request)
    ended = time.perf_counter_ns()
    _see_that_nothing_changed()
    return (ended - began) / calls


def _async_middleware(kind: str) -> Callable[[HttpRequest], Awaitable[Any]]:
    from cms.middleware.utils import ApphookReloadMiddleware

    from cms_urlreload.middleware import UrlReloadMiddleware

    if kind == "core":
        inner = ApphookReloadMiddleware(async_to_sync(aget_response))
        return sync_to_async(inner, thread_sensitive=True)
    made: Any = {"empty": AsyncEmpty, "ours": UrlReloadMiddleware}[kind](aget_response)
    return made  # type: ignore[no-any-return]


def _see_that_nothing_changed() -> None:
    from cms_urlreload.process import state

    if state.is_due(time.monotonic()):
        raise RuntimeError("the process lost its listener; what was measured is not the check")


if __name__ == "__main__":
    django.setup()
    serve({"listen": listen, "sync": sync, "asgi": under_asgi})
