"""The list of stories below what an editor calls them, in each language.

django CMS wants a single apphook for each model of configs, so this changes the package's own.
"""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest, HttpResponse
from django.urls import URLPattern, path
from django.utils.text import slugify
from djangocms_stories.cms_apps import StoriesApp


def stories(request: HttpRequest) -> HttpResponse:
    return HttpResponse("stories")


def get_urls(
    self: Any, page: Any = None, language: str | None = None, **kwargs: Any
) -> list[list[URLPattern]]:
    config = self.get_config(page.application_namespace) if page else None
    if config is None:
        return [[]]
    # From the rows: parler would answer from its cache, which each of these processes has its own
    # of, and they do not hear of a change.
    words = config.translations.filter(language_code=language).values_list("object_name", flat=True)
    return [[path(f"{slugify(word)}/", stories, name="list") for word in words]]


StoriesApp.get_urls = get_urls
