"""What others are shown of the place of the apphooks, and what is resolved by it then."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import pytest
from cms.appresolver import AppRegexURLResolver
from django.http import HttpRequest, HttpResponse
from django.urls import URLPattern, URLResolver, clear_url_caches, resolve, reverse
from django.urls.resolvers import RegexPattern
from django.utils.translation import override

from cms_urlreload.slot import Slot

PATHS = {"en": "news", "de": "nachrichten"}


def view(request: HttpRequest) -> HttpResponse:
    return HttpResponse()


def wrapped(request: HttpRequest) -> HttpResponse:
    return HttpResponse()


def pattern(route: str, name: str) -> URLPattern:
    return URLPattern(RegexPattern(route, name=name, is_endpoint=True), view, {}, name)


@pytest.fixture
def urlconf() -> Any:
    """A urlconf whose apphook has two languages, and a namespace of its own below."""
    app = AppRegexURLResolver(RegexPattern(r""), "app_resolver", app_name="news", namespace="news")
    app.page_id = 1
    app.url_patterns_dict = {
        language: [
            pattern(f"^{path}/$", "list"),
            URLResolver(
                RegexPattern(f"^{path}/feeds/"), [pattern(r"^all/$", "all")], {}, "feeds", "feeds"
            ),
        ]
        for language, path in PATHS.items()
    }
    module: Any = ModuleType("slot_urlconf")
    module.urlpatterns = [Slot([app])]
    yield module
    clear_url_caches()


def look_below(patterns: Any) -> None:
    """What Django's own check of a urlconf does, and decorators."""
    for each in patterns:
        if isinstance(each, URLResolver):
            look_below(each.url_patterns)


@pytest.mark.parametrize("is_looked_at", [False, True])
@pytest.mark.parametrize("order", [("en", "de"), ("de", "en")])
def test_each_language_has_its_own_urls(
    urlconf: Any, is_looked_at: bool, order: tuple[str, str]
) -> None:
    if is_looked_at:
        look_below(urlconf.urlpatterns)
    for language in order:
        path = PATHS[language]
        with override(language):
            for name, url in (("list", f"/{path}/"), ("feeds:all", f"/{path}/feeds/all/")):
                assert reverse(f"news:{name}", urlconf=urlconf) == url
                assert resolve(url, urlconf=urlconf).view_name == f"news:{name}"


def test_what_is_put_around_a_view__is_in_force_in_each_language(urlconf: Any) -> None:
    def wrap(patterns: Any) -> None:
        for each in patterns:
            if isinstance(each, URLResolver):
                wrap(each.url_patterns)
            else:
                each.callback = wrapped

    wrap(urlconf.urlpatterns)
    for language, path in PATHS.items():
        with override(language):
            assert resolve(f"/{path}/feeds/all/", urlconf=urlconf).func is wrapped
            assert resolve(f"/{path}/", urlconf=urlconf).func is wrapped
