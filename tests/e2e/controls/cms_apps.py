"""Apphooks that answer one word each, so that a test sees which of them has a URL."""

from __future__ import annotations

from typing import Any

from cms.app_base import CMSApp
from cms.apphook_pool import apphook_pool
from django.urls import path

from tests.e2e.controls.views import say

ALPHA = [path("hello/", say, {"word": "alpha"}, name="hello")]
BETA = [
    path("", say, {"word": "beta"}, name="root"),
    path("bye/", say, {"word": "beta"}, name="bye"),
]
SPARE = [path("hello/", say, {"word": "spare"}, name="hello")]


class _WordsApphook(CMSApp):  # type: ignore[misc]  # untyped base
    urls: list[Any]

    def get_urls(
        self, page: object = None, language: str | None = None, **kwargs: Any
    ) -> list[Any]:
        return [self.urls]


@apphook_pool.register
class AlphaApphook(_WordsApphook):
    name, app_name, urls = "Alpha", "alpha", ALPHA


@apphook_pool.register
class BetaApphook(_WordsApphook):
    """It answers the root of its page as well."""

    name, app_name, urls = "Beta", "beta", BETA


@apphook_pool.register
class SpareApphook(_WordsApphook):
    """For one page only: for what is done to all pages with an apphook."""

    name, app_name, urls = "Spare", "spare", SPARE
