"""The resolver of one page's apphook. It matches what django CMS's own would match, and does no
work for a page that nobody asks for.

Django's resolvers compile the regular expressions of all pages that come before the one that is
asked for, and all of them at the first ``reverse()``: with a thousand apphook pages that is most of
what a change of URLs costs. This one looks at the beginning of the path first, and makes its
patterns when it is asked for them.

It overrides a private method of Django's resolvers; tests/unit/test_hookresolver.py pins what that
relies on.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

from cms.appresolver import AppRegexURLResolver
from django.conf import settings
from django.urls import Resolver404, URLPattern, URLResolver
from django.urls.resolvers import RegexPattern
from django.utils.translation import get_language

Pattern = URLPattern | URLResolver

# Characters that stand for themselves in a regular expression.
_LITERAL = re.compile(r"[\w/~%-]*")
# What may make a regular expression match without what is put in front of it, or in other letters:
# an alternative, and a flag.
_NOT_APPENDABLE = re.compile(r"\||\(\?[aiLmsux-]")


class Hooked(NamedTuple):
    """The patterns of an apphook below one URL of its page."""

    #: What each path begins with that they match; "" if that is not known.
    prefix: str
    #: Makes the patterns. What it makes it from does not change any more.
    make: Callable[[], list[Pattern]]


def literal_prefix(prefix: str, are_appendable: bool) -> str:
    """Return the prefix if all paths that begin so in the form of a regular expression begin so in
    letters; else "".

    :param are_appendable: the same of what is put behind it.
    """
    return prefix if are_appendable and _LITERAL.fullmatch(prefix) else ""


def is_appendable(pattern: Pattern) -> bool:
    """Whether the pattern, put behind something, matches only what begins with that."""
    return _NOT_APPENDABLE.search(pattern.pattern.regex.pattern) is None


class HookResolver(AppRegexURLResolver):  # type: ignore[misc]  # untyped base
    """The patterns of one page, in all of its languages.

    :param hooked: by language.
    :param views: dotted names of the views, in the form of Django's ``lookup_str``.
    """

    def __init__(
        self, app_name: str, namespace: str, page_id: int, hooked: Mapping[str, Hooked], views: Any
    ) -> None:
        super().__init__(RegexPattern(r""), "app_resolver", app_name=app_name, namespace=namespace)
        self.page_id = page_id
        self.url_patterns_dict = _Patterns(hooked)
        self._prefixes = {language: each.prefix for language, each in hooked.items()}
        # What the resolver above reads without asking.
        self._callback_strs = set(views)

    def resolve(self, path: Any) -> Any:
        """Resolve a path, as any resolver does."""
        self._refuse(path)
        return super().resolve(path)

    def resolve_page_id(self, path: str) -> Any:
        """Return the page of a path; django CMS finds the page of a request by this."""
        self._refuse(path)
        return super().resolve_page_id(path)

    def _refuse(self, path: Any) -> None:
        # With DEBUG, the page for a 404 lists all patterns that were tried.
        prefix = self._prefixes.get(get_language())
        if not settings.DEBUG and (prefix is None or not str(path).startswith(prefix)):
            raise Resolver404({"path": path, "tried": []})

    def _populate(self) -> None:
        """Do nothing: the resolver above calls this for all pages, and needs none of what would be
        found, but that of an app without a name. The properties do it when they are asked."""

    @property
    def reverse_dict(self) -> Any:
        """What can be reversed in the current language."""
        return self._found(self._reverse_dict)

    @property
    def namespace_dict(self) -> Any:
        """The namespaces below, in the current language."""
        return self._found(self._namespace_dict)

    @property
    def app_dict(self) -> Any:
        """The names of the apps below, in the current language."""
        return self._found(self._app_dict)

    def _found(self, by_language: dict[str | None, Any]) -> Any:
        language = get_language()
        if language not in by_language:
            super()._populate()
        return by_language[language]


class _Patterns(Mapping[str, "list[Pattern]"]):
    """The patterns by language, each made when it is asked for.

    Two threads may make the same at once; they are equal, and one of them stays.
    """

    def __init__(self, hooked: Mapping[str, Hooked]) -> None:
        self._hooked = hooked
        self._made: dict[str, list[Pattern]] = {}

    def __getitem__(self, language: str) -> list[Pattern]:
        made = self._made.get(language)
        if made is None:
            made = self._made.setdefault(language, self._hooked[language].make())
        return made

    def __iter__(self) -> Iterator[str]:
        return iter(self._hooked)

    def __len__(self) -> int:
        return len(self._hooked)
