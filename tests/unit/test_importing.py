"""Urlconfs that are imported again, and what must not happen by that. What they answer, form by
form, is in tests/forms."""

from __future__ import annotations

import importlib
import logging
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from cms import appresolver
from django.http import HttpResponse
from django.test import RequestFactory, override_settings
from django.urls import clear_url_caches, resolve, reverse
from django.utils.translation import override

from cms_urlreload import urltree
from cms_urlreload.importing import in_order
from cms_urlreload.urltree import Publisher
from tests.forms.catalogue import HEAD
from tests.forms.tools import DEPTH
from tests.unit.test_urltree import apphook

# On django CMS 5.0 and 4.1 to import cms.urls reads the database, and so does to wrap them.
pytestmark = pytest.mark.django_db

COUNTED = 'urlpatterns = decorate_urlpatterns([path("", include("cms.urls"))], counted)'


@pytest.fixture
def clean_cms_urls(clean_urls: None) -> Iterator[None]:
    """Each test begins and ends with patterns that nobody has wrapped."""
    from cms import urls

    def clean() -> None:
        from cms.wizards import urls as wizard_urls

        importlib.reload(wizard_urls)
        importlib.reload(urls)
        for name in [name for name in sys.modules if name.startswith("made_")]:
            del sys.modules[name]
        from tests.demo import urls as demo_urls

        importlib.reload(demo_urls)
        clear_url_caches()
        Publisher().publish([])

    clean()
    yield
    clean()


@pytest.fixture
def write(tmp_path: Path, monkeypatch: Any, clean_cms_urls: None) -> Iterator[Callable[..., None]]:
    """Write the modules of a site; ``made_root`` is ROOT_URLCONF."""
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)

    def write(**sources: str) -> None:
        for name, source in sources.items():
            (tmp_path / f"made_{name}.py").write_text(f"{HEAD}{source}\n")
        importlib.invalidate_caches()

    with override_settings(ROOT_URLCONF="made_root"):
        yield write


def depth(path: str, urlconf: str | None = None) -> str | None:
    """How many decorators answer a path."""
    match = resolve(path, urlconf)
    request = RequestFactory().get(path)
    request.current_page = None  # type: ignore[attr-defined]
    response: HttpResponse = match.func(request, *match.args, **match.kwargs)
    return response.get(DEPTH)


def test_import_again__wraps_once__after_many_publications(write: Any) -> None:
    write(
        root='urlpatterns = decorate_urlpatterns([path("blog/", include("made_blog")), '
        'path("", include("cms.urls"))], counted)',
        blog='urlpatterns = [path("one/", ping, name="one")]',
    )
    publisher = Publisher()
    with override("en"):
        for number in range(5):
            publisher.publish([apphook(f"page{number}", "app")])
            assert reverse("app:list") == f"/page{number}-en/"
            assert depth(f"/page{number}-en/") == "1"
            # Of a module that is not imported again.
            assert depth("/blog/one/") == "1"


def test_import_again__wraps_in_each_language(write: Any) -> None:
    write(root=COUNTED)
    publisher = Publisher()
    for name in ("one", "two"):
        publisher.publish([apphook(name, "app")])
        for language in ("en", "de"):
            with override(language):
                assert reverse("app:list") == f"/{name}-{language}/"
                assert depth(f"/{name}-{language}/") == "1"
        with override("de"):  # now a page like any other
            assert resolve(f"/{name}-en/").url_name == "pages-details-by-slug"


def test_import_again__wraps__what_comes_after_a_time_without_apphooks(write: Any) -> None:
    write(
        root="""
from cms import urls as cms_urls
for each in cms_urls.urlpatterns:
    if each.pattern.regex.pattern == "":
        decorate_urlpatterns(each.url_patterns, counted)
urlpatterns = [path("", include("cms.urls"))]"""
    )
    publisher = Publisher()
    with override("en"):
        publisher.publish([])
        publisher.publish([apphook("one", "app")])
        # The same as what it does when it is imported for the first time.
        sys.modules.pop("made_root")
        clear_url_caches()
        assert depth("/one-en/") == "1"
        for resolvers in ([apphook("two", "app")], [], [apphook("three", "app")]):
            publisher.publish(resolvers)
        assert depth("/three-en/") == "1"


def test_publish__keeps_a_late_decorator_in_force__in_all_languages(write: Any) -> None:
    write(root='urlpatterns = [path("", include("cms.urls"))]', late=COUNTED)
    publisher = Publisher()
    publisher.publish([apphook("one", "app")])
    with override("en"):
        assert depth("/one-en/", "made_late") == "1"
    with override("de"):
        assert depth("/one-de/", "made_late") == "1"
    publisher.publish([apphook("two", "app")])
    for language in ("en", "de"):
        with override(language):
            assert depth(f"/two-{language}/", "made_late") == "1"


def test_import_again__keeps_all_that_was__when_a_module_raises(
    write: Any, tmp_path: Path, caplog: Any
) -> None:
    write(root=COUNTED)
    publisher = Publisher()
    with override("en"):
        publisher.publish([apphook("one", "app")])
        pages = appresolver.APP_RESOLVERS
        path = tmp_path / "made_root.py"
        source = path.read_text()
        path.write_text(f"urlpatterns = []\n{'# longer' * 99}\nraise ValueError('on purpose')\n")
        with pytest.raises(ValueError, match="on purpose"):
            publisher.publish([apphook("two", "app")])
        for _ in range(2):
            assert depth("/one-en/") == "1"
            assert reverse("app:list") == "/one-en/"
            assert appresolver.APP_RESOLVERS is pages
            assert publisher.is_published()
            clear_url_caches()  # nor does it come with the next reader
        path.write_text(source)
        publisher.publish([apphook("two", "app")])
        assert depth("/two-en/") == "1"


def test_import_again__passes_over__an_unused_urlconf_that_raises(
    write: Any, tmp_path: Path, caplog: Any
) -> None:
    write(root=COUNTED, unused='urlpatterns = [path("", include("cms.urls"))]')
    importlib.import_module("made_unused")
    publisher = Publisher()
    publisher.publish([apphook("one", "app")])
    (tmp_path / "made_unused.py").write_text(f"{'# longer' * 99}\n1 / 0\n")
    with override("en"), caplog.at_level(logging.ERROR):
        for name in ("two", "three"):
            publisher.publish([apphook(name, "app")])
            assert depth(f"/{name}-en/") == "1"
    [record] = [each for each in caplog.records if each.levelno == logging.ERROR]
    assert "made_unused cannot be imported again (ZeroDivisionError" in record.getMessage()


def test_import_again__imports_inner_modules_first(write: Any) -> None:
    write(
        root='urlpatterns = [path("", include("made_middle"))]',
        middle="from made_inner import urlpatterns as inner\nurlpatterns = rebuilt(inner, counted)",
        inner='urlpatterns = [path("", include("cms.urls"))]',
    )
    publisher = Publisher()
    with override("en"):
        for name in ("one", "two", "three"):
            publisher.publish([apphook(name, "app")])
            assert depth(f"/{name}-en/") == "1"


def test_in_order__survives_modules_that_include_each_other(write: Any) -> None:
    write(
        root='urlpatterns = [path("", include("cms.urls"))]',
        other='import made_root\nurlpatterns = [path("", include("made_root"))]',
    )
    root, other = importlib.import_module("made_root"), importlib.import_module("made_other")
    root.made_other = other  # type: ignore[attr-defined]
    assert len(in_order([(root, {"made_other"}), (other, {"made_root"})])) == 2
    assert in_order([(other, {"made_root"}), (root, set())])[0].__name__ == "made_root"


def test_publish__tells_once__what_is_imported_again(write: Any, caplog: Any) -> None:
    write(root=COUNTED)
    publisher = Publisher()
    with caplog.at_level(logging.INFO):
        publisher.publish([apphook("one", "app")])
        publisher.publish([apphook("two", "app")])
    told = [each.getMessage() for each in caplog.records if each.name == urltree.__name__]
    assert len([each for each in told if "made_root" in each]) == 1
    assert len(told) == 1
    assert "Imported again at each change" in told[0]
    assert urltree.REMEDY in told[0]
    assert publisher.findings


def test_publish__has_readers_see_whole_and_wrapped_trees(write: Any) -> None:
    write(root=COUNTED)
    publisher = Publisher()
    publisher.publish([apphook("stays", "stays")])
    wrong: list[Any] = []
    ends = threading.Event()

    def read() -> None:
        with override("en"):
            while not ends.is_set():
                try:
                    assert (depth("/stays-en/"), reverse("stays:list")) == ("1", "/stays-en/")
                except BaseException as error:
                    wrong.append(repr(error))

    readers = [threading.Thread(target=read) for _ in range(4)]
    for reader in readers:
        reader.start()
    try:
        for number in range(60):
            publisher.publish([apphook("stays", "stays"), apphook(f"page{number}", "app")])
    finally:
        ends.set()
        for reader in readers:
            reader.join()
    assert not wrong[:3], len(wrong)
