"""Puts new apphook resolvers into the URL trees of this process.

The only module, beside hookresolver, that uses private parts of Django's URL resolvers. It imports
no module a second time and executes no user code.

A tree is lists of resolvers. Each place where apphooks hang (``cms.urls``, wherever it is
included) holds one *slot*; publishing puts another slot there, which is one assignment to one
element of a list. A resolver on the way from a root to a slot remembers what ``reverse()`` found
below it, so each of those is replaced by a copy that remembers nothing. All others stay, with
what they know. The lists stay too, and so does what somebody appended to one of them at run time.
"""

from __future__ import annotations

import contextlib
import copy
import sys
from collections.abc import Iterator, MutableMapping, Sequence
from types import ModuleType
from typing import cast

from asgiref.local import Local
from cms import appresolver
from cms.appresolver import AppRegexURLResolver
from django.urls import URLResolver, clear_url_caches, get_resolver
from django.urls.resolvers import RegexPattern
from django.utils.translation import get_language

from .hookresolver import Pattern


class Slot(URLResolver):
    """The place of all apphooks in a URL tree; adds nothing to the path."""

    def __init__(self, patterns: Sequence[Pattern]) -> None:
        super().__init__(RegexPattern(r""), list(patterns))


class Trunk(URLResolver):
    """A resolver on the way to a slot. It does not have those beside it look once more at what they
    know already, as Django does: for a site with an admin that is most of the first reverse().
    """

    #: What was below a resolver, in a language, when it looked there last.
    _settled: MutableMapping[tuple[int, str], tuple[URLResolver, list[Pattern]]]

    def _populate(self) -> None:
        language = get_language()
        looks = {
            # The resolver is kept as well, so that its id is not given to another.
            (id(pattern), language): (pattern, below)
            for pattern in self.url_patterns
            if isinstance(pattern, URLResolver) and (below := _all_below(pattern)) is not None
        }
        settled = [
            pattern
            for key, (pattern, below) in looks.items()
            if self._settled.get(key) == (pattern, below) and language in pattern._reverse_dict
        ]
        with _left_alone(settled):
            super()._populate()
        self._settled.update(looks)


def _all_below(resolver: URLResolver, *above: URLResolver) -> list[Pattern] | None:
    """Return all patterns below a resolver; None if one of them computes what is below it, or
    includes itself."""
    if type(resolver) is not URLResolver or resolver in above:
        return None
    found: list[Pattern] = []
    for pattern in resolver.url_patterns:
        found.append(pattern)
        if isinstance(pattern, URLResolver):
            below = _all_below(pattern, resolver, *above)
            if below is None:
                return None
            found += below
    return found


@contextlib.contextmanager
def _left_alone(resolvers: list[URLResolver]) -> Iterator[None]:
    """Have Django pass these resolvers by when it populates the one above, in this thread: as it
    does with one that it is in the middle of populating."""
    marked = [each for each in resolvers if not getattr(each._local, "populating", False)]
    for each in marked:
        each._local.populating = True
    try:
        yield
    finally:
        for each in marked:
            each._local.populating = False


class Publisher:
    """Publishes apphook resolvers, for all urlconfs of the process. One thread at a time."""

    def __init__(self) -> None:
        self._slot: Slot | None = None
        self._app_resolvers: list[AppRegexURLResolver] = []

    def is_published(self) -> bool:
        """Whether what was published last is still in place: django CMS's own reloading, under
        ``runserver`` with DEBUG or in its middleware, throws it out."""
        return (
            self._slot is not None
            and appresolver.APP_RESOLVERS is self._app_resolvers
            and self._slot in _cms_urls().urlpatterns
        )

    def publish(
        self, resolvers: Sequence[AppRegexURLResolver], patterns: Sequence[Pattern] | None = None
    ) -> int:
        """Replace the apphooks of all urlconfs; return the number of resolvers copied for it.

        :param patterns: what stands in their place, where that is not the resolvers.

        A reader meets the old apphooks or the new ones at any moment, and never none.
        """
        get_resolver().url_patterns  # noqa: B018  # imports ROOT_URLCONF, where nothing has yet
        slot = Slot(resolvers if patterns is None else patterns)
        renewal = _Renewal(slot)
        # Any module may be the urlconf of a request (``request.urlconf``) or be included in one,
        # so all are looked at. Innermost first: a list is finished before what refers to it.
        renewal.fill(_as_list(_cms_urls(), "urlpatterns"))
        for module in list(sys.modules.values()):
            if not isinstance(module, ModuleType):
                continue  # what else there is may do anything when it is looked at
            if isinstance(vars(module).get("urlpatterns"), (list, tuple)):
                renewal.renew(_as_list(module, "urlpatterns"))
        # django CMS finds the page of a request, and so its permissions, by this list. Not the
        # list of the slot: what builds URLs in django CMS appends to it.
        self._app_resolvers = appresolver.APP_RESOLVERS = list(resolvers)
        # Django's cached roots hold what reverse() knew of the old trees.
        clear_url_caches()
        self._slot = slot
        return len(renewal.copies)


class _Renewal:
    """One walk over the URL trees, which brings a new slot to its places."""

    def __init__(self, slot: Slot) -> None:
        self._slot = slot
        # Both by identity, so that what is shared between trees stays shared.
        self._seen: dict[int, bool] = {}
        self.copies: dict[int, tuple[URLResolver, URLResolver]] = {}

    def fill(self, patterns: list[Pattern]) -> None:
        """Put the slot into a list, in place of what is there for apphooks, else at the front."""
        old = [index for index, pattern in enumerate(patterns) if _holds_apphooks(pattern)]
        if len(old) == 1:
            patterns[old[0]] = self._slot
        else:
            # Only before the first publication: django CMS 5.0 and older keep each apphook in
            # the list itself, and none if there was none when cms.urls was imported.
            rest = [pattern for pattern in patterns if not _holds_apphooks(pattern)]
            rest.insert(old[0] if old else 0, self._slot)
            patterns[:] = rest
        self._seen[id(patterns)] = True

    def renew(self, patterns: list[Pattern]) -> bool:
        """Renew all that leads to a slot in or below a list; return whether anything does."""
        known = self._seen.get(id(patterns))
        if known is not None:
            return known
        self._seen[id(patterns)] = False  # a list that includes itself leads nowhere
        if any(_holds_apphooks(pattern) for pattern in patterns):
            self.fill(patterns)
        for index, pattern in enumerate(patterns):
            if _holds_apphooks(pattern):
                continue  # what is below it is not ours to change: it may be in use
            if isinstance(pattern, URLResolver) and self._leads_to_slot(pattern):
                patterns[index] = self._copy(pattern)
                self._seen[id(patterns)] = True
        return self._seen[id(patterns)]

    def _leads_to_slot(self, resolver: URLResolver) -> bool:
        if id(resolver) in self.copies:
            return True
        below = _patterns_below(resolver)
        return below is not None and self.renew(below)

    def _copy(self, resolver: URLResolver) -> URLResolver:
        """Copy a resolver without what reverse() has put into it."""
        if id(resolver) not in self.copies:
            clone = copy.copy(resolver)
            if type(clone) is URLResolver:
                clone.__class__ = Trunk
                vars(clone).setdefault("_settled", {})
            # What URLResolver.__init__() sets for _populate() to fill.
            vars(clone).update(
                _reverse_dict={},
                _namespace_dict={},
                _app_dict={},
                _callback_strs=set(),
                _populated=False,
                _local=Local(),
            )
            # The original is kept with its copy, so that its id is not given to another.
            self.copies[id(resolver)] = (resolver, clone)
        return self.copies[id(resolver)][1]


def _cms_urls() -> ModuleType:
    # Never imported from here at the top: before django CMS 5.1 that reads the database.
    from cms import urls

    return cast("ModuleType", urls)


def _holds_apphooks(pattern: Pattern) -> bool:
    """Whether this element of a list of patterns is there for apphooks."""
    # cms.urls.LazyURLResolver came with django CMS 5.1; before it, the apphooks stood in the list.
    lazy = getattr(_cms_urls(), "LazyURLResolver", Slot)
    return isinstance(pattern, (Slot, AppRegexURLResolver, lazy))


def _patterns_below(resolver: URLResolver) -> list[Pattern] | None:
    """Return the list that a resolver resolves with; None if no request has come that far, or if
    the resolver is of a class that computes it."""
    if type(resolver).url_patterns is not URLResolver.url_patterns:
        return None
    if "url_patterns" not in vars(resolver):
        if isinstance(resolver.urlconf_name, str) and resolver.urlconf_name not in sys.modules:
            return None  # to be imported by the request that needs it, not by us
        resolver.url_patterns  # noqa: B018  # a cached property; now nothing but a look-up
    return _as_list(resolver, "url_patterns")


def _as_list(owner: ModuleType | URLResolver, name: str) -> list[Pattern]:
    """Return an owner's patterns as a list that can be changed; Django takes tuples too."""
    patterns = getattr(owner, name)
    if not isinstance(patterns, list):
        patterns = list(patterns)
        setattr(owner, name, patterns)
    return patterns
