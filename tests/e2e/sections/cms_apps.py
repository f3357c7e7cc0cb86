"""The apphook: a URL for each row."""

from __future__ import annotations

from typing import Any

from cms.app_base import CMSApp
from cms.apphook_pool import apphook_pool
from django.http import HttpRequest, HttpResponse
from django.urls import URLPattern, path


def section(request: HttpRequest, slug: str) -> HttpResponse:
    return HttpResponse(slug)


@apphook_pool.register
class SectionsApphook(CMSApp):  # type: ignore[misc]  # untyped base
    app_name = "sections"
    name = "Sections"

    def get_urls(
        self, page: object = None, language: str | None = None, **kwargs: Any
    ) -> list[list[URLPattern]]:
        from tests.e2e.sections.models import Section

        if page is None:
            return [[]]  # django CMS asks what apphooks there are, before there are tables too
        slugs = Section._default_manager.order_by("slug").values_list("slug", flat=True)
        return [[path(f"{slug}/", section, {"slug": slug}, name=slug) for slug in slugs]]
