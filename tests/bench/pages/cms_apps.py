"""The apphook: one URL that asks the database nothing."""

from __future__ import annotations

from typing import Any

from cms.app_base import CMSApp
from cms.apphook_pool import apphook_pool
from django.urls import path

from tests.demo.views import ping

URLS = [path("hello/", ping, name="hello")]


@apphook_pool.register
class BenchApphook(CMSApp):  # type: ignore[misc]  # untyped base
    app_name = "bench"
    name = "Bench"

    def get_urls(
        self, page: object = None, language: str | None = None, **kwargs: Any
    ) -> list[Any]:
        return [URLS]
