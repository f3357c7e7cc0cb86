"""The place of all apphooks in a URL tree.

Django resolves and reverses through the patterns that were put into a slot, which make what they
hold when a path asks for it. Everybody else who looks below a slot (a urlconf that wraps views
where they are, or that copies patterns) is shown another list: the same URLs as ordinary patterns,
complete for all languages, made for this slot alone. From then on the slot resolves through that
list, so what was put around its views is in force; and it can be seen that somebody did.
"""

from __future__ import annotations

import copy
import threading
from collections.abc import Iterator, Sequence
from typing import Any

from asgiref.local import Local
from cms.appresolver import AppRegexURLResolver
from django.urls import URLPattern, URLResolver
from django.urls.resolvers import RegexPattern
from django.utils.functional import lazy
from django.utils.translation import get_language, override

from .hookresolver import Pattern

#: Matches nothing, and reverses to nothing.
_NEVER = "(?!)"
#: The attribute of a pattern that has the language that it matches in.
_LANGUAGE = "_cms_urlreload_language"
_lock = threading.Lock()


class _Delegating(URLResolver):
    """A resolver that resolves and reverses through another one, ``_current``, which may be another
    at each look, and shows ``url_patterns`` of its own."""

    @property
    def _current(self) -> Any:
        raise NotImplementedError

    def resolve(self, path: Any) -> Any:
        """Resolve a path, as any resolver does."""
        return self._current.resolve(path)

    def _populate(self) -> None:
        current = self._current
        current._populate()
        self._callback_strs = current._callback_strs
        self._populated = True

    @property
    def reverse_dict(self) -> Any:
        """What can be reversed in the current language."""
        return self._current.reverse_dict

    @property
    def namespace_dict(self) -> Any:
        """The namespaces below, in the current language."""
        return self._current.namespace_dict

    @property
    def app_dict(self) -> Any:
        """The names of the apps below, in the current language."""
        return self._current.app_dict


class Slot(_Delegating):
    """The place of all apphooks in a URL tree; adds nothing to the path.

    :param patterns: what stands there. Never changed by whoever finds the slot in a tree.
    """

    def __init__(self, patterns: Sequence[Pattern]) -> None:
        self._hidden = URLResolver(RegexPattern(r""), list(patterns))
        self._shown: URLResolver | None = None
        self._outline: list[tuple[Any, ...]] = []
        super().__init__(RegexPattern(r""), [])
        # A urlconf may make this a subclass of django CMS's lazy resolver, which asks this.
        self._get_urlpatterns = lambda: [fresh(pattern) for pattern in patterns]

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {len(self._hidden.url_patterns)} apphooks>"

    @property
    def patterns(self) -> Sequence[Pattern]:
        """What was put here."""
        return self._hidden.url_patterns

    @property
    def url_patterns(self) -> list[Pattern]:
        """What others are shown: ordinary patterns, for all languages."""
        with _lock:
            if self._shown is None:
                shown = [fresh(pattern) for pattern in self.patterns]
                self._outline = list(_outline(shown))
                self._shown = URLResolver(RegexPattern(r""), shown)
            return self._shown.url_patterns

    @property
    def urlconf_module(self) -> Any:
        """As those that rebuild a resolver read it."""
        return self.url_patterns

    @property
    def urlconf_name(self) -> Any:
        """As ``urlconf_module``."""
        return self.url_patterns

    @urlconf_name.setter
    def urlconf_name(self, value: Any) -> None:
        """URLResolver sets it; there is no such thing."""

    def is_as_made(self) -> bool:
        """Whether nobody has changed what they were shown."""
        if self._shown is None:
            return True
        now = list(_outline(self._shown.url_patterns))
        return len(now) == len(self._outline) and all(
            a is b
            for old, new in zip(self._outline, now, strict=True)
            for a, b in zip(old, new, strict=True)
        )

    @property
    def _current(self) -> URLResolver:
        return self._shown or self._hidden


class AllLanguages(_Delegating, AppRegexURLResolver):  # type: ignore[misc]  # untyped base
    """The patterns of a page's apphook as one list, the same in each language. Each of them matches
    in its own language only, as a translated pattern of Django's does."""

    def __init__(self, resolver: AppRegexURLResolver) -> None:
        super().__init__(
            resolver.pattern,
            "app_resolver",
            resolver.default_kwargs,
            app_name=resolver.app_name,
            namespace=resolver.namespace,
        )
        self.page_id = resolver.page_id
        self._all = [
            _in_language(language, fresh(pattern))
            for language, patterns in resolver.url_patterns_dict.items()
            for pattern in patterns
        ]
        self._by_language: dict[str | None, AppRegexURLResolver] = {}

    @property
    def urlconf_module(self) -> Any:
        """The list itself, as AppRegexURLResolver has it."""
        return self._all

    @property
    def _current(self) -> AppRegexURLResolver:
        """What is resolved by: the patterns of one language. In the list as a whole a namespace of
        one language would hide that of another."""
        language = get_language()
        mine = [each for each in self._all if getattr(each, _LANGUAGE, language) == language]
        known = self._by_language.get(language)
        if known is None or known.url_patterns_dict[language] != mine:
            known = AppRegexURLResolver(
                self.pattern,
                "app_resolver",
                self.default_kwargs,
                app_name=self.app_name,
                namespace=self.namespace,
            )
            known.page_id = self.page_id
            known.url_patterns_dict = {language: mine}
            self._by_language[language] = known
        return known

    def resolve_page_id(self, path: str) -> Any:
        """Return the page of a path; django CMS finds the page of a request by this."""
        return self._current.resolve_page_id(path)


def fresh(pattern: Pattern) -> Pattern:
    """Return a pattern like the given one that shares with it nothing that a decorator changes."""
    if isinstance(pattern, AppRegexURLResolver):
        return pattern if isinstance(pattern, AllLanguages) else AllLanguages(pattern)
    if isinstance(pattern, URLResolver):
        return without_memory(pattern, [fresh(each) for each in pattern.url_patterns])
    return copy.copy(pattern)


def without_memory(resolver: URLResolver, below: list[Pattern]) -> URLResolver:
    """Return a copy of a resolver, over another list, without what reverse() has put into it."""
    clone = copy.copy(resolver)
    # What URLResolver.__init__() sets for _populate() to fill.
    vars(clone).update(
        url_patterns=below,
        _reverse_dict={},
        _namespace_dict={},
        _app_dict={},
        _callback_strs=set(),
        _populated=False,
        _local=Local(),
    )
    if isinstance(resolver.urlconf_name, (list, tuple)):
        clone.urlconf_name = below
        vars(clone).pop("urlconf_module", None)
    return clone


def _regex_of(language: str, regex: str) -> str:
    return regex if get_language() == language else _NEVER


_regex_in = lazy(_regex_of, str)


def _in_language(language: str, pattern: Pattern) -> Pattern:
    """Have a pattern, which is nobody else's, match in one language only."""
    old: Any = pattern.pattern
    with override(language):
        regex = old.regex.pattern
    pattern.pattern = RegexPattern(
        _regex_in(language, regex),
        name=old.name,
        is_endpoint=isinstance(pattern, URLPattern),
    )
    setattr(pattern, _LANGUAGE, language)
    return pattern


def _outline(patterns: Sequence[Pattern]) -> Iterator[tuple[Any, ...]]:
    """Yield each pattern in and below a list, with what a decorator would change of it."""
    for pattern in patterns:
        # resolve(): a function of the class, unless the instance was given another.
        yield pattern, type(pattern), pattern.callback, vars(pattern).get("resolve")
        if isinstance(pattern, URLResolver):
            yield from _outline(pattern.url_patterns)
