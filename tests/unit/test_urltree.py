from __future__ import annotations

import importlib.machinery
import importlib.util
import logging
import sys
from collections.abc import Iterator
from types import ModuleType
from typing import Any

import pytest
from cms import appresolver
from cms.appresolver import AppRegexURLResolver
from django.conf.urls.i18n import i18n_patterns
from django.http import HttpResponse
from django.test import override_settings
from django.urls import (
    NoReverseMatch,
    Resolver404,
    URLPattern,
    URLResolver,
    clear_url_caches,
    include,
    path,
    resolve,
    reverse,
)
from django.urls.resolvers import RegexPattern
from django.utils.functional import cached_property
from django.utils.translation import override

from cms_urlreload.slot import Slot
from cms_urlreload.urltree import Publisher

pytestmark = pytest.mark.usefixtures("clean_urls")


def view(request: Any) -> HttpResponse:
    return HttpResponse()


def apphook(prefix: str, name: str) -> AppRegexURLResolver:
    """A resolver as django CMS builds it, for one page, in two languages."""
    resolver = AppRegexURLResolver(RegexPattern(r""), "app", app_name="app", namespace=name)
    for language in ("en", "de"):
        pattern = RegexPattern(rf"^{prefix}-{language}/$", name="list", is_endpoint=True)
        resolver.url_patterns_dict[language] = [URLPattern(pattern, view, name="list")]
    return resolver


@pytest.fixture
def urlconf() -> Iterator[Any]:
    """Make modules with urlpatterns, which are gone after the test."""
    names = []

    def make(name: str, urlpatterns: Any) -> str:
        module = ModuleType(name)
        module.urlpatterns = urlpatterns  # type: ignore[attr-defined]
        sys.modules[name] = module
        names.append(name)
        return name

    yield make
    for name in names:
        del sys.modules[name]
    clear_url_caches()


def test_publish__replaces_resolve_and_reverse_and_the_pages() -> None:
    publisher = Publisher()
    publisher.publish([apphook("one", "one")])
    with override("en"):
        assert reverse("one:list") == "/en/one-en/"
        assert resolve("/en/one-en/").func is view
        publisher.publish([apphook("two", "two")])
        assert reverse("two:list") == "/en/two-en/"
        assert resolve("/en/two-en/").namespace == "two"
        with pytest.raises(NoReverseMatch):
            reverse("one:list")
        # Now a page like any other.
        assert resolve("/en/one-en/").url_name == "pages-details-by-slug"
    assert [resolver.namespace for resolver in appresolver.APP_RESOLVERS] == ["two"]


def test_publish__replaces_what_was_reversed_in_each_language() -> None:
    publisher = Publisher()
    for name in ("one", "two"):
        publisher.publish([apphook(name, "app")])
        for language in ("en", "de"):
            with override(language):
                assert reverse("app:list") == f"/{language}/{name}-{language}/"


def test_publish__keeps_lists__and_what_was_appended_at_run_time() -> None:
    from tests.demo import urls

    publisher = Publisher()
    publisher.publish([apphook("one", "one")])
    patterns = urls.urlpatterns
    patterns.append(path("appended/", view, name="appended"))
    try:
        publisher.publish([apphook("two", "two")])
        assert urls.urlpatterns is patterns
        assert reverse("appended") == "/appended/"
        assert resolve("/appended/").func is view
    finally:
        patterns.pop()


def test_publish__copies_only_what_leads_to_the_apphooks() -> None:
    from tests.demo import urls

    publisher = Publisher()
    publisher.publish([])
    before = list(urls.urlpatterns)
    copies = publisher.publish([apphook("one", "one")])
    changed = [new for old, new in zip(before, urls.urlpatterns, strict=True) if old is not new]
    # The prefix of the language, and the inclusion of cms.urls below it.
    assert copies == 2
    assert len(changed) == 1
    assert str(changed[0].pattern) == "en/"


def test_publish__reaches_nested_includes_and_each_urlconf(urlconf: Any) -> None:
    inner = urlconf("tests.inner_urls", [path("cms/", include("cms.urls"))])
    outer = urlconf("tests.outer_urls", [path("deep/", include(inner))])
    other = urlconf("tests.other_urls", i18n_patterns(path("", include("cms.urls"))))
    publisher = Publisher()
    with override("en"):
        for name in ("one", "two"):
            publisher.publish([apphook(name, name)])
            assert reverse(f"{name}:list", urlconf=outer) == f"/deep/cms/{name}-en/"
            assert reverse(f"{name}:list", urlconf=other) == f"/en/{name}-en/"
            assert resolve(f"/deep/cms/{name}-en/", urlconf=outer).namespace == name
        with pytest.raises(NoReverseMatch):
            reverse("one:list", urlconf=outer)


def test_publish__reaches_cms_urls_mounted_twice(urlconf: Any) -> None:
    twice = urlconf(
        "tests.twice_urls",
        [path("a/", include("cms.urls")), path("b/", include("cms.urls"))],
    )
    publisher = Publisher()
    with override("en"):
        for name in ("one", "two"):
            publisher.publish([apphook(name, name)])
            for mount in ("a", "b"):
                assert resolve(f"/{mount}/{name}-en/", urlconf=twice).namespace == name


def test_publish__reaches_a_urlconf_that_is_imported_later(urlconf: Any) -> None:
    publisher = Publisher()
    publisher.publish([apphook("one", "one")])
    late = urlconf("tests.late_urls", [path("late/", include("cms.urls"))])
    with override("en"):
        assert reverse("one:list", urlconf=late) == "/late/one-en/"
        publisher.publish([apphook("two", "two")])
        assert reverse("two:list", urlconf=late) == "/late/two-en/"


def test_publish__takes_tuples_for_lists(urlconf: Any) -> None:
    below = (path("cms/", include("cms.urls")),)
    tuples = urlconf("tests.tuple_urls", (path("t/", include((below, "t"))),))
    publisher = Publisher()
    with override("en"):
        for name in ("one", "two"):
            publisher.publish([apphook(name, name)])
            assert reverse(f"t:{name}:list", urlconf=tuples) == f"/t/cms/{name}-en/"


def test_publish__survives_a_list_that_includes_itself(urlconf: Any) -> None:
    name = urlconf("tests.loop_urls", [path("cms/", include("cms.urls"))])
    module = sys.modules[name]
    module.urlpatterns.append(path("again/", include(module)))
    publisher = Publisher()
    publisher.publish([apphook("one", "one")])
    with override("en"):
        assert resolve("/again/again/cms/one-en/", urlconf=name).namespace == "one"


def test_publish__takes_the_apphooks_that_older_django_cms_keeps_in_the_list(
    urlconf: Any, monkeypatch: Any
) -> None:
    from cms import urls as cms_urls

    Publisher().publish([])
    rest = [each for each in cms_urls.urlpatterns if not isinstance(each, Slot)]
    old = [apphook("x", "x"), apphook("y", "y"), *rest]
    monkeypatch.setattr(cms_urls, "urlpatterns", old)
    name = urlconf("tests.older_urls", [path("", include("cms.urls"))])
    Publisher().publish([apphook("one", "one")])
    assert isinstance(old[0], Slot)
    assert old[1:] == rest
    with override("en"):
        assert resolve("/one-en/", urlconf=name).namespace == "one"
        assert resolve("/x-en/", urlconf=name).url_name == "pages-details-by-slug"


def test_publish__reaches_a_urlconf_that_has_a_list_of_its_own_for_apphooks(urlconf: Any) -> None:
    # As django CMS's documentation once had it: get_app_patterns() + urlpatterns.
    own = urlconf("tests.own_urls", [apphook("x", "x"), path("other/", view)])
    publisher = Publisher()
    with override("en"):
        for name in ("one", "two"):
            publisher.publish([apphook(name, name)])
            assert reverse(f"{name}:list", urlconf=own) == f"/{name}-en/"
            assert resolve("/other/", urlconf=own).func is view


def test_publish__imports_no_module_again(urlconf: Any) -> None:
    from tests.demo import urls

    marker = object()
    urls.marker = marker  # type: ignore[attr-defined]
    Publisher().publish([apphook("one", "one")])
    assert sys.modules["tests.demo.urls"] is urls
    assert urls.marker is marker  # type: ignore[attr-defined]


def test_is_published__notices_that_django_cms_has_emptied_the_pages() -> None:
    publisher = Publisher()
    assert not publisher.is_published()
    publisher.publish([apphook("one", "one")])
    assert publisher.is_published()
    appresolver.clear_app_resolvers()
    assert not publisher.is_published()


def test_publish__lets_no_reader_of_the_old_tree_write_into_the_new_one() -> None:
    """A thread that is still populating a resolver of the old tree would put old URLs there."""
    from tests.demo import urls

    def prefix() -> Any:
        [found] = [each for each in urls.urlpatterns if str(each.pattern) == "en/"]
        return found

    Publisher().publish([apphook("one", "one")])
    with override("en"):
        reverse("one:list")
        old = vars(prefix())
        Publisher().publish([apphook("two", "two")])
        new = vars(prefix())
    for name in ("_reverse_dict", "_namespace_dict", "_app_dict", "_callback_strs", "_local"):
        assert new[name] is not old[name]
    assert old["_namespace_dict"]
    assert not new["_namespace_dict"]
    assert new["_populated"] is False


def test_publish__is_not_changed_by_what_django_cms_appends() -> None:
    Publisher().publish([apphook("one", "one")])
    appresolver.APP_RESOLVERS.append(apphook("stray", "stray"))
    with override("en"), pytest.raises(NoReverseMatch):
        reverse("stray:list")


def test_publish__shares_what_reverse_knows_of_other_resolvers() -> None:
    from tests.demo import urls

    def prefix() -> Any:
        [found] = [each for each in urls.urlpatterns if str(each.pattern) == "en/"]
        return found

    Publisher().publish([])
    [admin, _] = prefix().url_patterns
    with override("en"):
        reverse("admin:index")
        assert admin._populated
        Publisher().publish([apphook("one", "one")])
        assert prefix().url_patterns[0] is admin


def test_reverse__does_not_populate_again_what_did_not_change(urlconf: Any) -> None:
    beside = path("beside/", include([path("one/", view, name="one")]))
    root = urlconf("tests.beside_urls", i18n_patterns(beside, path("", include("cms.urls"))))
    publisher = Publisher()
    with override("en"):
        for name in ("one", "two"):  # Django's own, then ours for the first time
            publisher.publish([apphook(name, name)])
            assert reverse("one", urlconf=root) == "/en/beside/one/"
        before = beside.reverse_dict
        publisher.publish([apphook("three", "three")])
        assert reverse("three:list", urlconf=root) == "/en/three-en/"
        assert reverse("one", urlconf=root) == "/en/beside/one/"
        assert beside.reverse_dict is before
    with override("de"):
        assert reverse("one", urlconf=root) == "/de/beside/one/"
        assert reverse("three:list", urlconf=root) == "/de/three-de/"


def test_reverse__notices_what_was_appended_below_at_run_time(urlconf: Any) -> None:
    inner = [path("one/", view, name="one")]
    outer = [path("inner/", include(inner))]
    root = urlconf(
        "tests.appended_urls",
        i18n_patterns(path("beside/", include(outer)), path("", include("cms.urls"))),
    )
    publisher = Publisher()
    with override("en"):
        for name in ("one", "two", "three"):
            publisher.publish([apphook(name, name)])
            assert reverse("one", urlconf=root) == "/en/beside/inner/one/"
        inner.append(path("late/", view, name="late"))
        publisher.publish([apphook("four", "four")])
        assert reverse("late", urlconf=root) == "/en/beside/inner/late/"


@override_settings(ROOT_URLCONF="tests.no_cms_urls")
def test_publish__does_without_a_root_that_has_the_cms(urlconf: Any) -> None:
    urlconf("tests.no_cms_urls", [path("x/", view)])
    clear_url_caches()
    Publisher().publish([apphook("one", "one")])
    with pytest.raises(Resolver404):
        resolve("/en/one-en/")


class Raises:
    """Whatever is asked of it."""

    def __iter__(self) -> Any:
        raise ValueError("no list")

    @property
    def urlpatterns(self) -> Any:
        raise ValueError("no patterns")


class RaisingResolver(URLResolver):
    @cached_property
    def url_patterns(self) -> Any:
        raise RuntimeError("not today")


class OddObject:
    @property  # type: ignore[misc]
    def __class__(self) -> Any:
        raise RuntimeError("looked at")


def endless() -> Any:
    """A resolver that has others below it without an end."""

    class Endless(URLResolver):
        @cached_property
        def url_patterns(self) -> Any:
            return [Endless(RegexPattern(r"x"), [])]

    return Endless(RegexPattern(r"x"), [])


RAISES: Any = Raises()
BROKEN: dict[str, Any] = {
    "include_of_what_raises": lambda: [URLResolver(RegexPattern(r"x"), RAISES)],
    "patterns_that_raise": Raises,
    "resolver_that_raises": lambda: [RaisingResolver(RegexPattern(r"x"), [])],
    "module_without_patterns": lambda: [URLResolver(RegexPattern(r"x"), "json")],
    "module_that_is_not_there": lambda: [URLResolver(RegexPattern(r"x"), "tests.not_there")],
    "odd_elements": lambda: [None, "text", OddObject(), 7],
    "no_list": lambda: 7,
    "endless": lambda: [endless()],
}


@pytest.mark.parametrize("name", BROKEN)
def test_publish__passes_over_a_broken_urlconf__and_tells_once(
    name: str, urlconf: Any, caplog: Any
) -> None:
    patterns: Any = BROKEN[name]()
    below = [path("in/", include("cms.urls"))]
    beside = isinstance(patterns, list)
    # Also where the broken part stands beside what is not.
    broken = urlconf("tests.broken_urls", [*patterns, *below] if beside else patterns)
    last = urlconf("tests.zz_last_urls", [path("last/", include("cms.urls"))])
    publisher = Publisher()
    with override("en"), caplog.at_level(logging.WARNING):
        for each in ("one", "two", "three"):
            publisher.publish([apphook(each, each)])
            assert publisher.is_published()
            assert resolve(f"/en/{each}-en/").namespace == each
            assert reverse(f"{each}:list") == f"/en/{each}-en/"
            assert reverse(f"{each}:list", urlconf=last) == f"/last/{each}-en/"
            assert [page.namespace for page in appresolver.APP_RESOLVERS] == [each]
            if beside and name != "odd_elements":
                assert resolve(f"/in/{each}-en/", urlconf=broken).namespace == each
    told = [record.getMessage() for record in caplog.records]
    assert len(told) <= 1
    assert all("tests.broken_urls" in each for each in told)
    quiet = ("module_that_is_not_there", "odd_elements", "no_list")
    assert bool(told) == (name not in quiet)


def test_publish__does_not_look_at_a_module_that_loads_itself(urlconf: Any) -> None:
    loaded = []

    class Loader(importlib.machinery.SourceFileLoader):
        def exec_module(self, module: ModuleType) -> None:
            loaded.append(module.__name__)

    spec = importlib.util.spec_from_loader("tests.lazy_urls", Loader("tests.lazy_urls", __file__))
    assert spec is not None
    assert spec.loader is not None
    lazy = importlib.util.LazyLoader(spec.loader)
    spec.loader = lazy
    module = importlib.util.module_from_spec(spec)
    lazy.exec_module(module)
    sys.modules["tests.lazy_urls"] = module
    sys.modules["tests.odd"] = OddObject()  # type: ignore[assignment]
    try:
        Publisher().publish([apphook("one", "one")])
    finally:
        del sys.modules["tests.lazy_urls"], sys.modules["tests.odd"]
    assert not loaded


def test_publish__passes_over_what_is_being_imported__without_a_word(
    urlconf: Any, caplog: Any
) -> None:
    name = urlconf("tests.half_urls", [])
    module = sys.modules[name]
    del module.urlpatterns
    module.__spec__ = importlib.machinery.ModuleSpec(name, None)
    module.__spec__._initializing = True  # type: ignore[attr-defined]
    urlconf("tests.whole_urls", [path("x/", include(module)), path("", include("cms.urls"))])
    publisher = Publisher()
    with override("en"):
        publisher.publish([apphook("one", "one")])
        module.urlpatterns = [path("half/", include("cms.urls"))]  # type: ignore[attr-defined]
        module.__spec__._initializing = False  # type: ignore[attr-defined]
        publisher.publish([apphook("two", "two")])
        assert resolve("/x/half/two-en/", urlconf="tests.whole_urls").namespace == "two"
    assert not caplog.records


def test_publish__changes_nothing__if_a_look_fails(monkeypatch: Any, urlconf: Any) -> None:
    publisher = Publisher()
    publisher.publish([apphook("one", "one")])
    pages = appresolver.APP_RESOLVERS

    def interrupt(*args: Any) -> None:
        raise KeyboardInterrupt

    class Interrupts(URLResolver):
        url_patterns: Any = property(interrupt)

    name = urlconf("tests.interrupt_urls", [Interrupts(RegexPattern(r"x"), [])])
    with override("en"):
        with pytest.raises(KeyboardInterrupt):
            publisher.publish([apphook("two", "two")])
        assert resolve("/en/one-en/").namespace == "one"
        assert reverse("one:list") == "/en/one-en/"
        assert appresolver.APP_RESOLVERS is pages
        sys.modules[name].urlpatterns = []  # type: ignore[attr-defined]
        publisher.publish([apphook("two", "two")])
        assert reverse("two:list") == "/en/two-en/"


def test_publish__puts_other_patterns_in_the_place_of_the_apphooks() -> None:
    publisher = Publisher()
    everything = URLPattern(RegexPattern(r""), view)
    publisher.publish([], patterns=[everything])
    with override("en"):
        assert resolve("/en/any/thing/").func is view
        assert appresolver.APP_RESOLVERS == []
        assert publisher.is_published()
        publisher.publish([apphook("one", "one")])
        assert resolve("/en/one-en/").namespace == "one"
        assert resolve("/en/any/").url_name == "pages-details-by-slug"


def test_slot__shows_others_a_list_of_its_own__for_all_languages() -> None:
    hook = apphook("one", "one")
    slots = Slot([hook]), Slot([hook])
    assert slots[0].is_as_made()
    shown: Any = slots[0].url_patterns[0]
    assert slots[0].is_as_made()
    for pattern in shown.url_patterns:
        pattern.callback = test_slot__shows_others_a_list_of_its_own__for_all_languages
    assert not slots[0].is_as_made()
    assert slots[1].is_as_made()
    for language, other in (("en", "de"), ("de", "en")):
        with override(language):
            assert slots[0].resolve(f"one-{language}/").func is not view
            assert slots[1].resolve(f"one-{language}/").func is view
            assert hook.resolve(f"one-{language}/").func is view
            assert slots[0].namespace_dict["one"][1].reverse("list") == f"one-{language}/"
            for slot in slots:
                with pytest.raises(Resolver404):
                    slot.resolve(f"one-{other}/")
