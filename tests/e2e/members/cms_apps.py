"""An apphook whose view is a coroutine, and one that checks no permissions."""

from __future__ import annotations

from typing import Any

from cms.app_base import CMSApp
from cms.apphook_pool import apphook_pool
from django.http import HttpRequest, HttpResponse
from django.urls import path


async def amembers(request: HttpRequest) -> HttpResponse:
    return HttpResponse("members only")


def everybody(request: HttpRequest) -> HttpResponse:
    return HttpResponse("everybody")


class _Apphook(CMSApp):  # type: ignore[misc]  # untyped base
    urls: list[Any]

    def get_urls(
        self, page: object = None, language: str | None = None, **kwargs: Any
    ) -> list[Any]:
        return [self.urls]


@apphook_pool.register
class AsyncApphook(_Apphook):
    name, app_name, urls = "Async", "async", [path("", amembers, name="root")]


@apphook_pool.register
class OpenApphook(_Apphook):
    permissions = False
    name, app_name, urls = "Open", "open", [path("", everybody, name="root")]
