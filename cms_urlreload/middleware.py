"""The middleware: one flag and one clock on each request; a refresh when they ask for it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from time import monotonic
from typing import Any

from asgiref.sync import iscoroutinefunction, markcoroutinefunction
from django.http import HttpRequest, HttpResponseBase

from .conf import get_settings
from .process import arefresh, refresh, state
from .tenants import refuse

GetResponse = Callable[[HttpRequest], HttpResponseBase | Awaitable[HttpResponseBase]]


class UrlReloadMiddleware:
    """Answers each request from current apphook URLs. Takes the place of
    ``cms.middleware.utils.ApphookReloadMiddleware``; as near to the top as that one.

    Under WSGI and ASGI alike: an unchanged request stays in the thread, or the event loop, that
    it is in.
    """

    sync_capable = True
    async_capable = True

    def __init__(self, get_response: Callable[[HttpRequest], Any]) -> None:
        self.get_response = get_response
        get_settings()  # a wrong setting stops the server here, before any request
        refuse()  # likewise
        self._is_async = iscoroutinefunction(get_response)
        if self._is_async:
            markcoroutinefunction(self)

    def __call__(self, request: HttpRequest) -> HttpResponseBase | Awaitable[HttpResponseBase]:
        """Answer a request; under ASGI, return the coroutine that does."""
        if self._is_async:
            return self.__acall__(request)
        # The same as state.is_due(), without the call.
        if state.dirty or monotonic() >= state.lease_until:
            refresh()
        return self.get_response(request)  # type: ignore[no-any-return]

    async def __acall__(self, request: HttpRequest) -> HttpResponseBase:
        if state.dirty or monotonic() >= state.lease_until:
            await arefresh()
        return await self.get_response(request)  # type: ignore[no-any-return]
