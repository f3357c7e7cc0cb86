from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from cms.appresolver import AppRegexURLResolver
from django.http import HttpResponse
from django.urls import Resolver404, URLPattern, URLResolver, include, path, re_path
from django.urls.resolvers import RegexPattern
from django.utils.translation import override

from cms_urlreload.hookresolver import Hooked, HookResolver, is_appendable, literal_prefix


def view(request: Any, **kwargs: Any) -> HttpResponse:
    return HttpResponse()


def patterns(prefix: str) -> list[Any]:
    """As django CMS makes them of two patterns of an app."""
    leaf = URLPattern(
        RegexPattern(rf"^{prefix}$", name="list", is_endpoint=True), view, name="list"
    )
    deep = URLPattern(RegexPattern(r"^deep/$", name="deep", is_endpoint=True), view, name="deep")
    found: list[Any] = [leaf, URLResolver(RegexPattern(rf"^{prefix}sub/"), [deep], namespace="s")]
    for pattern in found:
        pattern.page_id = 7
    return found


class Made:
    """A resolver, and in which languages its patterns were made."""

    def __init__(self, prefix: str = "news/", app_name: str = "app") -> None:
        self.languages: list[str] = []
        self.theirs = AppRegexURLResolver(
            RegexPattern(r""), "app_resolver", app_name=app_name, namespace="app"
        )
        hooked = {}
        for language, path_ in (("en", prefix), ("de", f"de-{prefix}")):
            self.theirs.url_patterns_dict[language] = patterns(path_)
            hooked[language] = Hooked(path_, self._make(language, path_))
        self.theirs.page_id = 7
        self.ours = HookResolver(app_name, "app", 7, hooked, {f"{__name__}.view"})

    def _make(self, language: str, path_: str) -> Callable[[], Any]:
        def make() -> Any:
            self.languages.append(language)
            return patterns(path_)

        return make


@pytest.fixture
def made() -> Made:
    return Made()


def found(resolver: Any, path_: str) -> Any:
    try:
        match = resolver.resolve(path_)
    except Resolver404:
        return None
    return match.func, match.kwargs, match.view_name, match.route, resolver.resolve_page_id(path_)


@pytest.mark.parametrize("language", ["en", "de", "fr"])
@pytest.mark.parametrize(
    "path_", ["", "news/", "news", "news/sub/deep/", "news/x", "de-news/", "other/", "newsletter/"]
)
def test_it_resolves_what_that_of_django_cms_does(language: str, path_: str, made: Made) -> None:
    with override(language):
        assert found(made.ours, path_) == found(made.theirs, path_)


@pytest.mark.parametrize("what", ["reverse_dict", "namespace_dict", "app_dict"])
def test_it_reverses_what_that_of_django_cms_does(what: str, made: Made) -> None:
    for language in ("en", "de"):
        with override(language):
            ours, theirs = getattr(made.ours, what), getattr(made.theirs, what)
            assert list(ours) == list(theirs)
            if what == "reverse_dict":
                assert ours["list"] == theirs["list"]


def test_it_makes_no_pattern_for_the_path_of_another_page(made: Made) -> None:
    with override("en"):
        for ask in (made.ours.resolve, made.ours.resolve_page_id):
            with pytest.raises(Resolver404):
                ask("other/")
        assert made.languages == []
        made.ours.resolve("news/")
        made.ours.resolve("news/sub/deep/")
    assert made.languages == ["en"]


def test_it_makes_no_pattern_for_the_resolver_above(made: Made) -> None:
    """At the first reverse() Django populates all that is below a root."""
    above = URLResolver(RegexPattern(r""), [made.ours])
    with override("en"):
        assert above.namespace_dict == {"app": ("", made.ours)}
        assert above.app_dict == {"app": ["app"]}
        assert made.languages == []
        assert above._is_callback(f"{__name__}.view")
        assert made.ours.reverse_dict.getlist("list")
    assert made.languages == ["en"]


def test_its_names_are_those_of_the_resolver_above__for_an_app_without_a_name() -> None:
    made = Made(app_name="")
    with override("en"):
        for resolver in (made.ours, made.theirs):
            above = URLResolver(RegexPattern(r""), [resolver])
            assert above.reverse("list") == "news/"


def test_with_debug__it_says_what_was_tried(made: Made, settings: Any) -> None:
    settings.DEBUG = True
    with override("en"):
        for resolver in (made.ours, made.theirs):
            with pytest.raises(Resolver404) as error:
                resolver.resolve("other/")
            assert len(error.value.args[0]["tried"]) == 2


@pytest.mark.parametrize(
    ("pattern", "appendable"),
    [
        (path("", view), True),
        (path("<slug:slug>/", view), True),
        (path("<uuid:id>/<path:rest>", view), True),
        (re_path(r"^(?P<year>\d{4})/$", view), True),
        (re_path(r"^one/$|^two/$", view), False),
        (re_path(r"(?i)one/", view), False),
        (re_path(r"(?i:one)/", view), False),
        (path("sub/", include([path("", view)])), True),
    ],
)
def test_is_appendable(pattern: Any, appendable: bool) -> None:
    assert is_appendable(pattern) is appendable


@pytest.mark.parametrize(
    ("prefix", "literal"),
    [("", ""), ("news/", "news/"), ("über/uns-2/", "über/uns-2/"), ("v1.0/", ""), ("a+b/", "")],
)
def test_literal_prefix(prefix: str, literal: str) -> None:
    assert literal_prefix(prefix, are_appendable=True) == literal
    assert literal_prefix(prefix, are_appendable=False) == ""


def test_a_path_that_is_no_literal__matches_as_in_django_cms() -> None:
    """django CMS takes a path for a regular expression: a dot matches any character."""
    theirs = URLPattern(RegexPattern(r"^v1.0/$", is_endpoint=True), view)
    hooked = Hooked(literal_prefix("v1.0/", are_appendable=True), lambda: [theirs])
    ours = HookResolver("app", "app", 7, {"en": hooked}, ())
    with override("en"):
        assert ours.resolve("v1.0/").func is view
        assert ours.resolve("v1x0/").func is view
