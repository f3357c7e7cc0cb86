"""The apphook: one URL, whose keyword has the rows that get_urls() has read. Before that, it does
what the environment says."""

from __future__ import annotations

import os
import time
import urllib.request
from pathlib import Path
from typing import Any

from cms.app_base import CMSApp
from cms.apphook_pool import apphook_pool
from django.http import HttpRequest, HttpResponse
from django.urls import URLPattern, path

#: Seconds of CPU that each get_urls() takes.
BUSY = float(os.environ.get("ROUTES_BUSY", "0"))
#: A file: for as long as it is there, get_urls() executes the statement that it holds.
STATEMENT = os.environ.get("ROUTES_STATEMENT", "")
#: A file: for as long as it is there, get_urls() asks for the address that it holds.
ADDRESS = os.environ.get("ROUTES_ADDRESS", "")


def row(request: HttpRequest, words: tuple[str, ...]) -> HttpResponse:
    return HttpResponse(" ".join(words))


@apphook_pool.register
class RoutesApphook(CMSApp):  # type: ignore[misc]  # untyped base
    app_name = "routes"
    name = "Routes"

    def get_urls(
        self, page: Any = None, language: str | None = None, **kwargs: Any
    ) -> list[list[URLPattern]]:
        from tests.e2e.sections.models import Section

        if page is None:
            return [[]]  # django CMS asks what apphooks there are, before there are tables too
        _take_time()
        slugs = Section._default_manager.filter(note=str(page.pk)).order_by("slug")
        words = tuple(slugs.values_list("slug", flat=True))
        return [[path("row/", row, {"words": words}, name="row")]]


@apphook_pool.register
class SecondRoutesApphook(RoutesApphook):
    app_name = "second"
    name = "Second routes"


@apphook_pool.register
class ThirdRoutesApphook(RoutesApphook):
    app_name = "third"
    name = "Third routes"


def _take_time() -> None:
    if BUSY:
        until = time.thread_time() + BUSY
        while time.thread_time() < until:
            pass
    if STATEMENT and Path(STATEMENT).exists():
        from django.db import connection

        with connection.cursor() as cursor:
            cursor.execute(Path(STATEMENT).read_text())
    if ADDRESS and Path(ADDRESS).exists():
        urllib.request.urlopen(Path(ADDRESS).read_text(), timeout=30).close()
