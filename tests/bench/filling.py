"""``python -m tests.bench.filling``: migrates a database and puts thousands of pages into it, past
django CMS's API, which takes a hundredth of a second for each.
"""

from __future__ import annotations

from typing import Any

import django
from django.db import connection, transaction

from tests.bench.subject import serve

LANGUAGES = ("en", "de")


def migrate() -> None:
    from django.core.management import call_command

    call_command("migrate", interactive=False, verbosity=0)


@transaction.atomic
def fill(apphook_pages: int, plain_pages: int) -> None:
    """Pages ``hook-0`` and so on with an apphook, then ``plain-0`` and so on without."""
    from cms.models import Page, UrlconfRevision
    from django.contrib.sites.models import Site

    Site.objects.update_or_create(pk=1, defaults={"domain": "127.0.0.1", "name": "Bench"})
    UrlconfRevision.objects.get_or_create(pk=1, defaults={"revision": "0"})
    names = [f"hook-{n}" for n in range(apphook_pages)]
    names += [f"plain-{n}" for n in range(plain_pages)]
    pages = [_page(number, name) for number, name in enumerate(names, 1)]
    Page.objects.bulk_create(pages, batch_size=1000)
    _create_urls(pages)
    with connection.cursor() as cursor:
        cursor.execute("SELECT setval('cms_page_id_seq', %s)", [len(pages) + 1])
    transaction.on_commit(_analyze)


def _page(number: int, name: str) -> Any:
    from cms.models import Page

    # Where django-treebeard would put the page: on the first level, in this order.
    page = Page(path=Page._get_path("", 1, number), depth=1, site_id=1, reverse_id=name)
    if name.startswith("hook-"):
        page.application_urls = "NewsApphook"
        page.application_namespace = name
    return page


def _create_urls(pages: list[Any]) -> None:
    from cms.models import PageUrl

    urls = [
        PageUrl(page=page, language=language, slug=page.reverse_id, path=page.reverse_id, site_id=1)
        for page in pages
        for language in LANGUAGES
    ]
    PageUrl.objects.bulk_create(urls, batch_size=1000)


def _analyze() -> None:
    # Not left to autovacuum, which would come in the middle of what is measured.
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE")


def take_out_triggers() -> None:
    from cms_urlreload_pg import triggers

    triggers.uninstall(connection)


if __name__ == "__main__":
    django.setup()
    serve({"migrate": migrate, "fill": fill, "take_out_triggers": take_out_triggers})
