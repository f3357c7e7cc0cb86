"""Imports urlconfs again, as django CMS does at each change: for those that did something with the
patterns of ``cms.urls`` that cannot be repeated otherwise, such as wrapping their views in place.

With three differences to django CMS: what includes a urlconf is imported after it; what was built
already is used, and the database is not read again; and what survives the import, such as the
patterns of an included module that are wrapped once more each time, is put back to what it was.
Readers have the old trees, which are complete, until the caches of Django are cleared.
"""

from __future__ import annotations

import contextlib
import importlib
import sys
from collections.abc import Collection, Iterator, Sequence
from types import ModuleType
from typing import Any, cast

from cms import appresolver
from django.urls import URLPattern, URLResolver, get_resolver

from . import urlforms
from .slot import Slot

#: What a resolver keeps for itself; not for us to put back.
_MEMORY = {
    "_app_dict",
    "_callback_strs",
    "_local",
    "_namespace_dict",
    "_populated",
    "_reverse_dict",
    "_settled",
    "lookup_str",
    "url_patterns",
    "urlconf_module",
}


def in_order(modules: Sequence[tuple[ModuleType, Collection[str]]]) -> list[ModuleType]:
    """Order urlconfs so that each comes after those that it is made of.

    :param modules: each with the names of those that are included below it.
    """
    lists = {module.__name__: vars(module)["urlpatterns"] for module, _ in modules}
    included = {module.__name__: set(names) for module, names in modules}
    by_name = {module.__name__: module for module, _ in modules}
    for name, module in by_name.items():
        held = {id(value) for value in vars(module).values()}
        included[name] |= {
            other
            for other in by_name
            if other != name and (id(lists[other]) in held or id(by_name[other]) in held)
        }
    ordered: dict[str, ModuleType] = {}

    def add(name: str, above: frozenset[str]) -> None:
        if name in ordered or name in above:
            return
        for other in by_name:
            if other in included[name]:
                add(other, above | {name})
        ordered[name] = by_name[name]

    for name in by_name:
        add(name, frozenset())
    return list(ordered.values())


def import_again(
    slot: Slot,
    modules: Sequence[ModuleType],
    needed: Collection[str],
    lists: Sequence[tuple[Any, bool]],
) -> dict[str, str]:
    """Import ``cms.urls`` and then the modules; return those that could not be, with the error.

    :param needed: names of modules without which it is all put back, and the error raised.
    :param lists: all lists of patterns that there are, each with whether it leads to apphooks.
    """
    from cms import urls

    cms_urls = cast("ModuleType", urls)
    for module in modules:
        # So that readers have the old tree of each, and none that a module in the middle of its
        # import would make.
        get_resolver(module.__name__).url_patterns  # noqa: B018
    namespaces = [(module, dict(vars(module))) for module in (cms_urls, *modules)]
    failed: dict[str, str] = {}
    with _surviving(lists), _built(slot):
        try:
            importlib.reload(cms_urls)
            _put_into(cms_urls.urlpatterns, slot)
            for module, namespace in namespaces[1:]:
                if _is_being_imported(module):
                    continue
                try:
                    importlib.reload(module)
                except Exception as error:
                    _restore(module, namespace)
                    if module.__name__ in needed:
                        raise
                    failed[module.__name__] = f"{type(error).__name__}: {error}"
        except BaseException:
            for module, namespace in namespaces:
                _restore(module, namespace)
            raise
    return failed


def _restore(module: ModuleType, namespace: dict[str, Any]) -> None:
    vars(module).update(namespace)
    for name in vars(module).keys() - namespace.keys():
        del vars(module)[name]


def _is_being_imported(module: ModuleType) -> bool:
    spec = getattr(sys.modules.get(module.__name__), "__spec__", None)
    return bool(getattr(spec, "_initializing", False))


def _put_into(patterns: list[Any], slot: Slot) -> None:
    rest = [each for each in patterns if urlforms.kind(type(each)) != "apphooks"]
    patterns[:] = [slot, *rest]


@contextlib.contextmanager
def _built(slot: Slot) -> Iterator[None]:
    """Have those that ask django CMS for the apphooks get what was built."""
    original = appresolver.get_app_patterns
    appresolver.get_app_patterns = lambda: list(slot.url_patterns)
    try:
        yield
    finally:
        appresolver.get_app_patterns = original


@contextlib.contextmanager
def _surviving(lists: Sequence[tuple[Any, bool]]) -> Iterator[None]:
    """Put back, at the end, what was changed of the patterns that are there at the beginning: they
    have been decorated, and each import would decorate them once more."""
    patterns = [(pattern, dict(vars(pattern))) for pattern in _patterns(lists)]
    contents = [(each, list(each)) for each, leads in lists if not leads and type(each) is list]
    try:
        yield
    finally:
        for pattern, attributes in patterns:
            _put_back(pattern, attributes)
        for each, content in contents:
            if len(each) != len(content) or any(
                a is not b for a, b in zip(each, content, strict=True)
            ):
                each[:] = content


def _patterns(lists: Sequence[tuple[Any, bool]]) -> Iterator[Any]:
    for patterns, _ in lists:
        if isinstance(patterns, (list, tuple)):
            yield from (each for each in patterns if isinstance(each, (URLPattern, URLResolver)))


def _put_back(pattern: Any, attributes: dict[str, Any]) -> None:
    now = vars(pattern)
    for name in now.keys() - attributes.keys() - _MEMORY:
        del now[name]
    now.update(
        (name, value)
        for name, value in attributes.items()
        if name not in _MEMORY and now.get(name) is not value
    )
