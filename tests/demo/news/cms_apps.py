"""The apphook of the news app: two URL modules and a menu."""

from __future__ import annotations

from typing import Any

from cms.app_base import CMSApp
from cms.apphook_pool import apphook_pool

from tests.demo.news.cms_menus import NewsMenu


@apphook_pool.register
class NewsApphook(CMSApp):  # type: ignore[misc]  # untyped base
    """Attach it to a page to have the news there."""

    app_name = "news"
    name = "News"

    def get_urls(
        self, page: object = None, language: str | None = None, **kwargs: Any
    ) -> list[str]:
        return ["tests.demo.news.urls", "tests.demo.news.archive_urls"]

    def get_menus(
        self, page: object = None, language: str | None = None, **kwargs: Any
    ) -> list[type[NewsMenu]]:
        return [NewsMenu]
