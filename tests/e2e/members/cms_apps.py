"""An apphook whose view is a coroutine, one that checks no permissions, and two that share their
patterns."""

from __future__ import annotations

from typing import Any

from cms.app_base import CMSApp
from cms.apphook_pool import apphook_pool
from django.http import HttpRequest, HttpResponse
from django.urls import include, path


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


_SECTION = {"section": "one"}


@apphook_pool.register
class SectionApphook(_Apphook):
    name, app_name = "Section", "section"
    urls = [path("", include("tests.e2e.members.shared_urls"), _SECTION)]  # noqa: RUF012


@apphook_pool.register
class SharedApphook(_Apphook):
    name, app_name, urls = "Shared", "shared", "tests.e2e.members.shared_urls"  # type: ignore[assignment]
