"""Says in a response header which process answered; sync and async."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable
from typing import cast

from asgiref.sync import iscoroutinefunction
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.utils.decorators import sync_and_async_middleware

SyncHandler = Callable[[HttpRequest], HttpResponseBase]
AsyncHandler = Callable[[HttpRequest], Awaitable[HttpResponseBase]]

HEADER = "X-Worker-Pid"


@sync_and_async_middleware
def WorkerPidMiddleware(get_response: SyncHandler | AsyncHandler) -> SyncHandler | AsyncHandler:  # noqa: N802
    """Add ``X-Worker-Pid`` to every response."""
    if iscoroutinefunction(get_response):
        handle_async = cast("AsyncHandler", get_response)

        async def amiddleware(request: HttpRequest) -> HttpResponseBase:
            response = await handle_async(request)
            response[HEADER] = str(os.getpid())
            return response

        return amiddleware

    handle = cast("SyncHandler", get_response)

    def middleware(request: HttpRequest) -> HttpResponseBase:
        response = handle(request)
        response[HEADER] = str(os.getpid())
        return response

    return middleware
