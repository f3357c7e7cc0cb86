"""``python -m tests.e2e.describing PAGE ...``: prints, as JSON, where the URLs of this process lead
to. Before that, the apphooks of the pages are attached one after the other, each with a refresh.
"""

from __future__ import annotations

import json
import sys

import django

APPHOOKS = {"news": "SectionApphook", "events": "SharedApphook"}
ROOTS = ("/en/news/", "/en/events/", "/de/neues/", "/de/termine/")


def refresh() -> None:
    from django.conf import settings

    if "cms_urlreload" in settings.INSTALLED_APPS:
        from cms_urlreload.process import reloader, state

        state.mark_dirty()
        reloader._next_at = 0.0
        reloader.refresh()
        assert reloader.failure is None


def attach(key: str) -> None:
    from cms.models import Page
    from django.urls import resolve
    from django.utils.translation import override

    pages = Page.objects.filter(reverse_id=key)
    pages.update(application_urls=APPHOOKS[key], application_namespace=key)
    refresh()
    for root in ROOTS:
        with override(root[1:3]):
            resolve(root)


def describe() -> dict[str, object]:
    from django.urls import resolve
    from django.utils.translation import override

    found: dict[str, object] = {}
    for path in (f"{root}{below}" for root in ROOTS for below in ("", "deep/")):
        with override(path[1:3]):
            match = resolve(path)
        found[path] = (match.view_name, match.kwargs)
    return found


if __name__ == "__main__":
    django.setup()
    for page in sys.argv[1:]:
        attach(page)
    refresh()
    print(json.dumps(describe()))
