"""Puts functions of this package in the place of django CMS's own: all that there are, once in a
process. Each of those is private in django CMS 4.1 to 5.1, and there is no other way past it:

* ``recurse_patterns`` writes into patterns that apphooks share; see :mod:`.patterns`;
* ``get_app_patterns`` is called by urlconfs that wrap apphooks; see :mod:`.urltree`;
* ``applications_page_check`` finds pages that have no URL any more; see :mod:`.permission`;
* the functions that make the keys of caches know nothing of the URLs; see :mod:`.caches`.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from typing import Any

from .state import State

#: Urlconfs that have looked at the apphooks when they were imported: they may have put something
#: around them, and where there was no apphook yet there is nothing to see of it.
asked_while_importing: set[str] = set()


def replace_early() -> None:
    """To be called before any app is ready: from then on, anything may build URLs."""
    from cms import appresolver

    from .patterns import recurse_patterns

    appresolver.recurse_patterns = recurse_patterns
    if not hasattr(appresolver.get_app_patterns, "__wrapped__"):
        appresolver.get_app_patterns = _noting_who_asks(appresolver.get_app_patterns)


def _noting_who_asks(own: Callable[[], Any]) -> Callable[[], Any]:
    @functools.wraps(own)
    def get_app_patterns() -> Any:
        asks = _module_that_asks()
        if asks is not None:
            asked_while_importing.add(asks)
        return own()

    return get_app_patterns


def _module_that_asks() -> str | None:
    """Return the name of the module whose import has led here; None if Django has, which resolves
    or reverses, or the import of ``cms.urls``."""
    frame = sys._getframe()
    while frame is not None:
        name = frame.f_globals.get("__name__", "")
        if name == "django.urls.resolvers":
            return None
        if frame.f_code.co_name == "<module>":
            spec = frame.f_globals.get("__spec__")
            is_imported = bool(getattr(spec, "_initializing", False))
            return name if is_imported and name != "cms.urls" else None
        frame = frame.f_back  # type: ignore[assignment]
    return None


def replace_others(state: State) -> None:
    """To be called when this app is ready, also where a test changes INSTALLED_APPS, and so has
    each app made ready again."""
    from cms import appresolver
    from cms.cache import page, placeholder
    from menus.menu_pool import MenuRenderer

    from . import caches, permission

    if hasattr(page._page_cache_key, "__wrapped__"):
        return
    appresolver.applications_page_check = permission.find_page(appresolver.applications_page_check)
    MenuRenderer.cache_key = caches.menu_key(MenuRenderer.cache_key, state)
    page._page_cache_key = caches.page_key(page._page_cache_key, state)
    page._page_url_key = caches.page_url_key(page._page_url_key, state)
    placeholder._get_placeholder_cache_key = caches.placeholder_key(
        placeholder._get_placeholder_cache_key, state
    )
