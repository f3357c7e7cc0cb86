"""A middleware that tells, in response headers, what each request had done in a thread, and how
late the event loop has ever been.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from contextvars import ContextVar
from typing import Any

from asgiref.sync import SyncToAsync, markcoroutinefunction
from django.http import HttpRequest, HttpResponseBase

TICK = 0.01
_hops: ContextVar[list[str] | None] = ContextVar("hops", default=None)
_call = SyncToAsync.__call__


async def _counted(self: Any, *args: Any, **kwargs: Any) -> Any:
    hops = _hops.get()
    if hops is not None:
        hops.append(getattr(self.func, "__qualname__", repr(self.func)))
    return await _call(self, *args, **kwargs)


SyncToAsync.__call__ = _counted  # type: ignore[method-assign]


class HopsMiddleware:
    """Adds ``X-Hops``, names with commas between them, and ``X-Loop-Late``, in milliseconds."""

    sync_capable = False
    async_capable = True

    def __init__(self, get_response: Callable[[HttpRequest], Awaitable[HttpResponseBase]]) -> None:
        self._get_response = get_response
        self._late = 0.0
        self._watcher: asyncio.Task[None] | None = None
        markcoroutinefunction(self)

    async def __call__(self, request: HttpRequest) -> HttpResponseBase:
        if self._watcher is None:
            self._watcher = asyncio.create_task(self._watch())
        hops: list[str] = []
        _hops.set(hops)
        response = await self._get_response(request)
        response["X-Hops"] = ",".join(hops)
        response["X-Loop-Late"] = str(round(self._late * 1000))
        return response

    async def _watch(self) -> None:
        while True:
            asked = time.monotonic()
            await asyncio.sleep(TICK)
            self._late = max(self._late, time.monotonic() - asked - TICK)
