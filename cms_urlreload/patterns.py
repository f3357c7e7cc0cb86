"""Copies of the patterns that apphooks return, and the patterns that django CMS makes of them below
a page.

A resolver makes its patterns when they are first asked for. It makes them from a copy, so that what
somebody changes in the originals meanwhile does not count: two processes that built from the same
rows have the same URLs, whatever each of them was asked first. For the same reason nothing here
writes into the originals, as ``cms.appresolver.recurse_patterns`` does.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from django.http import HttpResponseBase
from django.urls import URLPattern, URLResolver
from django.urls.resolvers import RegexPattern
from django.utils.translation import override

from .hookresolver import Pattern, is_appendable

View = Callable[..., HttpResponseBase]


class Leaf(NamedTuple):
    """A URLPattern as it was."""

    source: URLPattern
    pattern: Any
    callback: View
    arguments: dict[str, Any]
    name: str | None


class Branch(NamedTuple):
    """A URLResolver as it was, with all that is below it."""

    source: URLResolver
    pattern: Any
    arguments: dict[str, Any]
    app_name: str | None
    namespace: str | None
    below: tuple[Node, ...]


Node = Leaf | Branch


def _copy(pattern: Pattern) -> Node:
    if isinstance(pattern, URLResolver):
        return Branch(
            pattern,
            pattern.pattern,
            dict(pattern.default_kwargs),
            pattern.app_name,
            pattern.namespace,
            tuple(map(_copy, pattern.url_patterns)),
        )
    return Leaf(
        pattern, pattern.pattern, pattern.callback, dict(pattern.default_args), pattern.name
    )


def _are_same(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    # By identity: what two objects say of their equality may leave out what a view reads of them.
    if not one and not other:
        return True
    return one.keys() == other.keys() and all(one[key] is other[key] for key in one)


class Snapshot:
    """A list of patterns as it was when this was made. Compared by identity: see Snapshots."""

    def __init__(self, patterns: Iterable[Pattern]) -> None:
        self.nodes = tuple(map(_copy, patterns))
        self._leaves = tuple(_leaves(self.nodes))
        self._branches = tuple(_branches(self.nodes))
        self._appendable: dict[str, bool] = {}

    def is_current(self) -> bool:
        """Whether the patterns are still as they were."""
        return self._are_leaves_current() and all(map(_is_current, self._branches))

    def _are_leaves_current(self) -> bool:
        # Asked for each page and language, so unpacked, which is faster than by name.
        for source, pattern, callback, arguments, name in self._leaves:
            if (
                source.pattern is not pattern
                or source.callback is not callback
                or source.name != name
                or not _are_same(arguments, source.default_args)
            ):
                return False
        return True

    def is_appendable(self, language: str) -> bool:
        """Whether a path that it matches below another begins with that other."""
        if language not in self._appendable:
            with override(language):
                # It reads nothing but the pattern, which a copy has too.
                self._appendable[language] = all(map(is_appendable, self.nodes))  # type: ignore[arg-type]
        return self._appendable[language]

    @functools.cached_property
    def views(self) -> frozenset[str]:
        """The names of all views, in the form of Django's ``lookup_str``."""
        return frozenset(
            URLPattern(leaf.pattern, leaf.callback).lookup_str for leaf in self._leaves
        )


def _leaves(nodes: Iterable[Node]) -> Iterator[Leaf]:
    for node in nodes:
        if isinstance(node, Leaf):
            yield node
        else:
            yield from _leaves(node.below)


def _branches(nodes: Iterable[Node]) -> Iterator[Branch]:
    for node in nodes:
        if isinstance(node, Branch):
            yield node
            yield from _branches(node.below)


def _is_current(branch: Branch) -> bool:
    """Whether a URLResolver is still as it was; without what is below it."""
    source = branch.source
    return (
        source.pattern is branch.pattern
        and (source.app_name, source.namespace) == (branch.app_name, branch.namespace)
        and _are_same(branch.arguments, source.default_kwargs)
        and list(source.url_patterns) == [node.source for node in branch.below]
    )


class Snapshots:
    """The snapshots of one build: one for each list of patterns, which most pages share. A list
    that has not changed since the build before has the same snapshot, so one look tells."""

    def __init__(self, previous: Snapshots | None = None) -> None:
        self._of: dict[tuple[Pattern, ...], Snapshot] = {}
        self._previous = {} if previous is None else previous._of

    def of(self, patterns: Iterable[Pattern]) -> Snapshot:
        """Return the snapshot of a list, in the language that is active."""
        # A tuple of the patterns, so that their ids are not given to others while it is kept.
        key = tuple(patterns)
        known = self._of.get(key) or self._previous.get(key)
        if known is None or not known.is_current():
            known = Snapshot(key)
        self._of[key] = known
        return known

    def forget_previous(self) -> None:
        """Let go of what the build before had, and this one has not."""
        self._previous = {}


def hook_in(prefix: str, nodes: Iterable[Node], page_id: int) -> list[Pattern]:
    """Return what django CMS makes of a list of patterns below a page.

    :param prefix: the path of the page, with a slash at its end, or "".
    """
    return [_hook_in(prefix, node, page_id, {}) for node in nodes]


def _hook_in(prefix: str, node: Node, page_id: int, outer: dict[str, Any]) -> Pattern:
    regex = f"^{prefix.lstrip('^')}{node.pattern.regex.pattern.lstrip('^')}"
    # As in django CMS, and other than in Django, the arguments of an include() win over those of
    # what it includes.
    arguments = {**node.arguments, **outer}
    hooked: Pattern
    if isinstance(node, Branch):
        below = [_hook_in("", each, page_id, arguments) for each in node.below]
        hooked = URLResolver(RegexPattern(regex), below, arguments, node.app_name, node.namespace)
    else:
        route = RegexPattern(regex, name=node.name, is_endpoint=True)
        hooked = URLPattern(route, node.callback, arguments, node.name)
    hooked.page_id = page_id  # type: ignore[union-attr]
    return hooked


def recurse_patterns(
    path: str,
    pattern_list: Iterable[Pattern],
    page_id: int,
    default_args: Mapping[str, Any] | None = None,
    nested: bool = False,
) -> list[Pattern]:
    """Take the place of ``cms.appresolver.recurse_patterns``, which returns the same the first time
    it is called.

    That writes the arguments of an ``include()`` into the patterns below it. They belong to a
    module that another apphook, or another include of the same, may share, and has them from then
    on.
    """
    prefix = "" if nested else path
    outer = dict(default_args or {})
    return [_hook_in(prefix, _copy(pattern), page_id, outer) for pattern in pattern_list]
