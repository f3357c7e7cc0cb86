"""What urlconfs do with the patterns of django CMS: is an element of a URL tree as django CMS made
it, or did somebody wrap or rebuild it?

Looks, and changes nothing. Does not look below django CMS's lazy resolver before somebody else has:
that reads the database.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Collection, Iterator
from types import ModuleType
from typing import Any, Literal, cast

from cms import views
from cms.appresolver import AppRegexURLResolver
from cms.utils import decorators
from django.urls import URLPattern, URLResolver
from django.urls.resolvers import RegexPattern
from django.utils.functional import cached_property
from django.views.generic import View

from .slot import Slot

Kind = Literal["pattern", "apphooks", "resolver", "other"]

#: The views of ``cms.urls``, by the names of their patterns.
CMS_VIEWS: dict[str, Callable[..., Any]] = {
    "cms_login": views.login,
    "pages-details-by-slug": views.details,
    "pages-root": views.details,
}
_PLAIN = {
    *vars(URLResolver(RegexPattern(r""), [])),
    *(name for name, value in vars(URLResolver).items() if isinstance(value, cached_property)),
    "_settled",
}
#: The code of the functions that django CMS puts around the views of apphooks.
_CMS_WRAPPERS = {decorators.cms_perms(views.details).__code__}
if hasattr(decorators, "cms_site_filter"):  # since django CMS 5.1
    _CMS_WRAPPERS.add(decorators.cms_site_filter(1)(views.details).__code__)
#: The code of each function that as_view() returns.
_AS_VIEW = View.as_view().__code__
#: In how many objects a wrapped view is looked for.
_ENOUGH = 200


def _kind(cls: type) -> Kind:
    if issubclass(cls, (Slot, AppRegexURLResolver)) or any(map(_is_lazy, cls.__mro__)):
        return "apphooks"
    if issubclass(cls, URLResolver):
        return "resolver"
    return "pattern" if issubclass(cls, URLPattern) else "other"


#: Returns what an element of a class is in a list of patterns.
kind: Callable[[Any], Kind] = functools.lru_cache(maxsize=256)(_kind)


def _is_lazy(cls: type) -> bool:
    # By name: django CMS 5.1 has it, and when cms.urls is imported again it is another class.
    return (cls.__module__, cls.__name__) == ("cms.urls", "LazyURLResolver")


def wrapped_view(pattern: URLPattern, *, is_own: bool) -> bool | None:
    """Whether somebody put something around a view of django CMS; None if it is not one.

    :param is_own: whether the pattern stands in ``cms.urls``, where nobody else's has its name.
    """
    target = CMS_VIEWS.get(cast("str", pattern.name))
    if target is None:
        return None
    # Also what somebody put into cms.views before cms.urls was imported.
    if pattern.callback in (target, getattr(views, target.__name__, None)):
        return type(pattern) is not URLPattern or "resolve" in vars(pattern)
    return True if is_own or _reaches(pattern.callback, target) else None


def _reaches(wrapper: Any, target: Any) -> bool:
    """Whether a function or object has another one inside, by whatever way it was wrapped."""
    seen: dict[int, Any] = {}
    waiting = [wrapper]
    while waiting and len(seen) < _ENOUGH:
        each = waiting.pop()
        if each is target:
            return True
        # A class has much inside, and wraps nothing; nor does a module, or a value.
        if id(each) not in seen and not isinstance(each, (type, ModuleType, str, bytes, int)):
            seen[id(each)] = each
            waiting.extend(_insides(each))
    return False


def _insides(wrapper: Any) -> Iterator[Any]:
    if callable(wrapper):
        yield from getattr(wrapper, "__dict__", {}).values()
        yield from (getattr(wrapper, name, None) for name in ("__func__", "__self__", "func"))
    for cell in getattr(wrapper, "__closure__", None) or ():
        with contextlib.suppress(ValueError):  # an empty cell
            yield cell.cell_contents
    if isinstance(wrapper, (list, tuple)):
        yield from wrapper[:_ENOUGH]


def is_inclusion_wrapped(resolver: URLResolver) -> bool:
    """Whether somebody put something around what ``cms.urls`` includes (a wizard, of one view), or
    around the inclusion."""
    return not is_plain(resolver) or any(
        "resolve" in vars(pattern) or getattr(pattern.callback, "__code__", None) is not _AS_VIEW
        for pattern in resolver.url_patterns
    )


def is_plain(resolver: URLResolver) -> bool:
    """Whether a copy of this resolver does what the resolver does."""
    cls = type(resolver)
    extra = vars(resolver).keys() - _PLAIN
    if cls is URLResolver or cls.__module__.startswith("cms_urlreload."):
        # An attribute that hides a method may be bound to the resolver that it was taken from.
        return not any(hasattr(cls, name) for name in extra)
    # A class of somebody's: what it keeps in its instances may have been made of the patterns.
    return not extra and cls.__init__ is URLResolver.__init__ and not computes(cls)


def computes(cls: type) -> bool:
    """Whether resolvers of this class make up themselves what is below them."""
    return any(
        getattr(cls, name, None) is not getattr(URLResolver, name)
        for name in ("url_patterns", "urlconf_module")
    )


def are_apphooks_wrapped(holder: Any, known: Callable[[], Collection[Any]]) -> bool:
    """Whether somebody put something around what stands in the place of the apphooks.

    :param known: returns the outermost views of apphooks, as keys of :func:`view_key`.
    """
    if not _is_holder_as_made(holder):
        return True
    if isinstance(holder, Slot):
        return not holder.is_as_made()
    if isinstance(holder, AppRegexURLResolver):
        lists = holder.url_patterns_dict.values()
        return any(_is_wrapped(pattern, known) for patterns in lists for pattern in patterns)
    # Nobody has looked below before this is there.
    below = vars(holder).get("url_patterns", ())
    return any(are_apphooks_wrapped(each, known) for each in below)


def _is_holder_as_made(holder: Any) -> bool:
    cls = type(holder)
    is_known = (
        cls is AppRegexURLResolver or cls.__module__.startswith("cms_urlreload.") or _is_lazy(cls)
    )
    is_in_place = not holder.default_kwargs and holder.pattern.regex.pattern == ""
    # Of the others, each is an apphook, which has a name.
    is_nameless = isinstance(holder, AppRegexURLResolver) or not (
        holder.app_name or holder.namespace
    )
    return is_known and is_in_place and is_nameless and "resolve" not in vars(holder)


def _is_wrapped(pattern: Any, known: Callable[[], Collection[Any]]) -> bool:
    if "resolve" in vars(pattern):
        return True
    if isinstance(pattern, URLResolver):
        return any(_is_wrapped(each, known) for each in pattern.url_patterns)
    code = getattr(pattern.callback, "__code__", None)
    return code not in _CMS_WRAPPERS and view_key(pattern.callback) not in known()


def view_key(view: Any) -> tuple[Any, ...]:
    """Return what stays the same of a view that is made anew, as by ``as_view()``."""
    return type(view), getattr(view, "__code__", None), getattr(view, "view_class", None)
