"""What an apphook's patterns become below a page: as of django CMS, and whatever the process has
seen before."""

from __future__ import annotations

import importlib.util
import random
from collections.abc import Callable
from types import ModuleType
from typing import Any

import pytest
from cms import appresolver
from cms.appresolver import get_app_patterns
from cms.models import Page
from django.http import HttpResponse
from django.urls import URLResolver, include, path, re_path
from django.utils.translation import override

from cms_urlreload.apphooks import AppTree, build
from cms_urlreload.patterns import recurse_patterns
from tests.demo.events.cms_apps import EventsApphook
from tests.demo.news.cms_apps import NewsApphook

SEEDS = range(300)


def view(request: Any, **kwargs: Any) -> HttpResponse:
    return HttpResponse(str(sorted(kwargs.items())))


def other_view(request: Any, **kwargs: Any) -> HttpResponse:
    return HttpResponse("other")


def described(patterns: Any) -> list[Any]:
    """All that decides what patterns match, and what they lead to."""
    return [
        (
            type(pattern),
            pattern.pattern.regex.pattern,
            getattr(pattern, "page_id", None),
            (
                pattern.default_kwargs,
                pattern.app_name,
                pattern.namespace,
                described(pattern.url_patterns),
            )
            if isinstance(pattern, URLResolver)
            else (pattern.default_args, pattern.name, pattern.lookup_str),
        )
        for pattern in patterns
    ]


@pytest.fixture
def original() -> ModuleType:
    """The module of django CMS, executed once more: nothing in it is replaced."""
    spec = importlib.util.find_spec("cms.appresolver")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def make_patterns(random_: random.Random, depth: int = 3) -> list[Any]:
    """Patterns as people write them, in which nothing is shared."""

    def arguments() -> dict[str, int]:
        return {key: random_.randrange(3) for key in "abc" if random_.random() < 0.3}

    def make_one(number: int) -> Any:
        route = random_.choice(["", f"r{number}/", "<slug:slug>/", "<int:year>/x/"])
        if depth and random_.random() < 0.4:
            below = make_patterns(random_, depth - 1)
            namespace = random_.choice([None, "one", "two"])
            target: Any = (below, namespace) if namespace else below
            return path(route, include(target), arguments())
        if random_.random() < 0.3:
            return re_path(rf"^{random_.choice(['', 'x/', '(?P<pk>[0-9]+)/'])}$", view, arguments())
        return path(route, random_.choice([view, other_view]), arguments(), name=f"n{number}")

    return [make_one(number) for number in range(random_.randint(1, 4))]


@pytest.mark.parametrize("prefix", ["", "news/", "^news/", "ä+/"])
def test_recurse_patterns__is_that_of_django_cms(prefix: str, original: ModuleType) -> None:
    for seed in SEEDS:
        theirs = original.recurse_patterns(prefix, make_patterns(random.Random(seed)), 7)
        ours = recurse_patterns(prefix, make_patterns(random.Random(seed)), 7)
        assert described(ours) == described(theirs), seed


def test_recurse_patterns__changes_nothing(original: ModuleType) -> None:
    for seed in SEEDS:
        patterns = make_patterns(random.Random(seed))
        before = described(patterns)
        recurse_patterns("x/", patterns, 7, {"z": 1})
        assert described(patterns) == before, seed


def test_recurse_patterns__takes_the_place_of_that_of_django_cms(original: ModuleType) -> None:
    assert appresolver.recurse_patterns is recurse_patterns
    # Its own, to see that it is still what has to be replaced.
    shared: list[Any] = [path("", view)]
    original.recurse_patterns("", [path("a/", include(shared), {"a": 1})], 7)
    assert shared[0].default_args == {"a": 1}


def kwargs_of(tree: AppTree | list[Any], path_: str) -> Any:
    resolvers = tree.resolvers if isinstance(tree, AppTree) else tree
    with override("en"):
        for resolver in resolvers:
            if path_.startswith(resolver.namespace):
                return resolver.resolve(path_).kwargs
    return None


@pytest.mark.django_db
class TestHistory:
    """Two apphooks share the patterns of a module; one of them includes it with arguments."""

    @pytest.fixture(autouse=True)
    def shared(self, monkeypatch: Any) -> list[Any]:
        monkeypatch.setattr(appresolver, "APP_RESOLVERS", [])
        deep: list[Any] = [path("deep/", view)]
        shared: list[Any] = [path("", view), path("x/", include(deep))]
        with_arguments = [path("", include(shared), {"section": "news"})]
        monkeypatch.setattr(NewsApphook, "get_urls", lambda *args, **kwargs: [with_arguments])
        monkeypatch.setattr(EventsApphook, "get_urls", lambda *args, **kwargs: [shared])
        return shared

    @pytest.mark.parametrize("order", [("news", "events"), ("events", "news")])
    @pytest.mark.parametrize("core_first", [False, True])
    def test_arguments_stay_where_they_belong(
        self, order: tuple[str, str], core_first: bool, make_page: Any
    ) -> None:
        tree: Any = None
        for slug in order:
            make_page(slug, f"{slug.title()}Apphook")
            tree = build("default", tree)
            for resolver in tree.resolvers:
                list(resolver.url_patterns_dict.values())
            if core_first:
                theirs = get_app_patterns()
        for found in (tree, theirs if core_first else tree):
            for below in ("", "x/deep/"):
                assert kwargs_of(found, f"news/{below}") == {"section": "news"}
                assert kwargs_of(found, f"events/{below}") == {}

    def test_one_module_included_twice__has_the_arguments_of_each(
        self, make_page: Any, monkeypatch: Any, shared: list[Any]
    ) -> None:
        twice = [path(f"{name}/", include(shared), {"name": name}) for name in ("a", "b")]
        monkeypatch.setattr(NewsApphook, "get_urls", lambda *args, **kwargs: [twice])
        make_page("news", "NewsApphook")
        tree = build("default")
        assert kwargs_of(tree, "news/a/") == {"name": "a"}
        assert kwargs_of(tree, "news/b/x/deep/") == {"name": "b"}


@pytest.mark.django_db
class TestSnapshot:
    """What is asked for late is what was there at the build."""

    @pytest.fixture
    def urls(self, monkeypatch: Any) -> Callable[[Any], None]:
        return lambda get_urls: monkeypatch.setattr(NewsApphook, "get_urls", get_urls)

    def test_an_app_fills_one_list_anew_for_each_page(self, make_page: Any, urls: Any) -> None:
        patterns: list[Any] = []

        def get_urls(app: Any, page: Any = None, language: Any = None) -> Any:
            name = page and page.application_namespace
            patterns[:] = [path("", view, {"of": name}), path(f"{name}/", view)]
            return [patterns]

        urls(get_urls)
        for slug in ("a", "b", "c"):
            make_page(slug, "NewsApphook")
        for _ in range(2):
            tree = build("default")
            for slug in ("a", "b", "c"):
                assert kwargs_of(tree, f"{slug}/") == {"of": slug}
                assert kwargs_of(tree, f"{slug}/{slug}/") == {}

    def test_an_app_changes_one_pattern_for_each_page(self, make_page: Any, urls: Any) -> None:
        pattern = path("", view)
        inner = path("in/", view)
        below = [path("x/", include([inner]))]

        def get_urls(app: Any, page: Any = None, language: Any = None) -> Any:
            name = page and page.application_namespace
            pattern.default_args = {"of": name}
            inner.default_args["of"] = name
            pattern.callback = view if name == "a" else other_view
            return [[pattern, *below]]

        urls(get_urls)
        for slug in ("a", "b"):
            make_page(slug, "NewsApphook")
        tree: Any = None
        for _ in range(2):
            tree = build("default", tree)
            for slug in ("a", "b"):
                assert kwargs_of(tree, f"{slug}/") == {"of": slug}
                assert kwargs_of(tree, f"{slug}/x/in/") == {"of": slug}
        views = {
            resolver.namespace: resolver.url_patterns_dict["en"][0].callback.__wrapped__
            for resolver in tree.resolvers
        }
        assert views == {"a": view, "b": other_view}

    def test_a_pattern_that_was_changed_in_place__is_built_again(
        self, make_page: Any, urls: Any
    ) -> None:
        inner = path("in/", view, {"state": 1})
        patterns = [path("x/", include([inner]))]
        urls(lambda *args, **kwargs: [patterns])
        make_page("news", "NewsApphook")
        before = build("default")
        inner.default_args["state"] = 2
        after = build("default", before)
        assert kwargs_of(before, "news/x/in/") == {"state": 1}
        assert kwargs_of(after, "news/x/in/") == {"state": 2}
        assert build("default", after).resolvers[0] is after.resolvers[0]

    def test_what_is_appended_later__is_there_after_the_next_build(
        self, make_page: Any, urls: Any
    ) -> None:
        patterns: list[Any] = [path("", view), path("x/", include([path("", view)]))]
        urls(lambda *args, **kwargs: [patterns])
        for slug in ("first", "news"):
            make_page(slug, "NewsApphook")
        before = build("default")
        patterns.append(path("late/", view, {"late": 1}))
        patterns[1].url_patterns.append(path("late/", view, {"late": 2}))
        for resolver in before.resolvers:
            en: list[Any] = resolver.url_patterns_dict["en"]
            assert [len(en), len(en[1].url_patterns)] == [2, 1]
        after = build("default", before)
        assert kwargs_of(after, "news/late/") == {"late": 1}
        assert kwargs_of(after, "news/x/late/") == {"late": 2}

    def test_what_is_excluded_from_permissions_later__is_not(
        self, make_page: Any, urls: Any, monkeypatch: Any
    ) -> None:
        urls(lambda *args, **kwargs: [[path("x/", include(([path("", view)], "open")))]])
        monkeypatch.setattr(NewsApphook, "exclude_permissions", [])
        for slug in ("first", "news"):
            make_page(slug, "NewsApphook")
        before = build("default")
        NewsApphook.exclude_permissions.append("open")
        after = build("default", before)
        for tree, is_guarded in ((before, True), (after, False)):
            for resolver in tree.resolvers:
                with override("en"):
                    match = resolver.resolve(f"{resolver.namespace}/x/")
                assert (match.func is not view) == is_guarded

    def test_an_apphook_by_another_name__is_built_again(self, make_page: Any, urls: Any) -> None:
        """django CMS knows an app by the name of its urlconf, too; the guard knows it by one."""
        page = make_page("news", "NewsApphook")
        before = build("default")
        Page.objects.filter(pk=page.pk).update(application_urls="tests.demo.news.urls")
        after = build("default", before)
        assert after.resolvers[0] is not before.resolvers[0]
