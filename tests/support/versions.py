"""What the installed django CMS can do, for tests that ask for it: by its version, with the reason.

A test that a version rules out is left out of the run (tests/support/plugin.py).
"""

from __future__ import annotations

from typing import Any

import cms
import pytest

#: The installed django CMS, as (5, 1).
CMS = tuple(int(number) for number in cms.__version__.split(".")[:2])
#: Before 5.1, cms.urls reads the database when it is imported (``LazyURLResolver`` came with 5.1).
URLS_READ_DATABASE_AT_IMPORT = CMS < (5, 1)
#: Since 5.1, one process without SITE_ID finds the site of each request by its host.
SITES_BY_HOST = CMS >= (5, 1)


def since_cms(version: tuple[int, int], reason: str) -> pytest.MarkDecorator:
    """Run the test on this django CMS and newer ones.

    :param reason: what older ones do not have.
    """
    return pytest.mark.cms_version(version <= CMS, reason)


def until_cms(version: tuple[int, int], reason: str) -> pytest.MarkDecorator:
    """Run the test on this django CMS and older ones.

    :param reason: what newer ones have, or have no more.
    """
    return pytest.mark.cms_version(version >= CMS, reason)


def only_cms(version: tuple[int, int], reason: str) -> pytest.MarkDecorator:
    """Run the test on this django CMS alone.

    :param reason: what all others have, or have not.
    """
    return pytest.mark.cms_version(version == CMS, reason)


def not_before_cms(version: tuple[int, int], reason: str) -> dict[str, str]:
    """Say, to those who leave it out themselves, why there is no such thing: {"*": reason} before
    this django CMS, nothing from it on."""
    return {"*": reason} if version > CMS else {}


needs_sites_by_host = since_cms((5, 1), "it needs SITE_ID")
needs_urls_of_content = since_cms((5, 1), "a content has no slug and no overwrite_url")
needs_urls_of_pages = until_cms((5, 0), "a page has the URLs of what is published of it")


def tree_model() -> Any:
    """Return the model whose rows have a page's place in the tree and its site."""
    from cms import models

    # Until 4.1 a page has a node for that; since 5.0 it is a node itself.
    return models.TreeNode if CMS < (5, 0) else models.Page


def tree_row(page: Any) -> Any:
    """Return that row of a page."""
    return page.node if CMS < (5, 0) else page


def site_of_url(site_id: int) -> dict[str, Any]:
    """Return the fields that give a PageUrl its site: none before 5.1, where its page has it."""
    return {"site_id": site_id} if CMS >= (5, 1) else {}


def save_url_in(alias: str, apphook: str) -> Any:
    """Save a page with a URL by their models alone, as django CMS's API knows one database only;
    return the URL."""
    from cms.models import Page, PageUrl

    place = {"path": "0001", "depth": 1, "site_id": 1}
    if tree_model() is not Page:
        node = tree_model()(**place)
        node.save(using=alias)
        place = {"node_id": node.pk}
    page = Page(application_urls=apphook, application_namespace="n", **place)
    page.save(using=alias)
    url = PageUrl(page=page, language="en", slug="x", path="x", **site_of_url(1))
    url.save(using=alias)
    return url
