"""The apphook URLs that the database asks for, for people: a row for each page and language."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from cms.models import PageContent, PageUrl
from django.db import router
from django.db.models import F

from .apphooks import TREE_PATH, routed_urls


@dataclass(frozen=True)
class Route:
    """One URL of a page that an apphook hangs on."""

    page_id: int
    title: str
    path: str
    language: str
    #: The name of its class.
    apphook: str
    namespace: str
    #: The domain of the page's site.
    site: str


def read_routes() -> list[Route]:
    """Read them, in two queries, in the order of the page tree.

    :raises django.db.Error: if the database cannot answer.
    """
    alias = router.db_for_write(PageUrl)
    rows = (
        routed_urls(alias)
        .annotate(domain=F(TREE_PATH.removesuffix("path") + "site__domain"))
        .order_by(TREE_PATH, "language", "pk")
        .values_list(
            "page_id",
            "path",
            "language",
            "page__application_urls",
            "page__application_namespace",
            "domain",
        )
    )
    titles = _titles(alias)
    return [
        Route(page, titles.get((page, language), path), path, language, app, namespace or "", site)
        for page, path, language, app, namespace, site in rows
    ]


def _titles(alias: str) -> dict[tuple[int, str], str]:
    # Of drafts too: djangocms-versioning's other manager knows what is published only.
    contents: Any = PageContent.admin_manager.using(alias).current_content()
    contents = contents.exclude(page__application_urls=None).exclude(page__application_urls="")
    rows = contents.values_list("page_id", "language", "title")
    return {(page, language): title for page, language, title in rows}
