"""Puts functions of this package in the place of django CMS's own: all that there are, once in a
process. Each of those is private in django CMS 4.1 to 5.1, and there is no other way past it:

* ``recurse_patterns`` writes into patterns that apphooks share; see :mod:`.patterns`;
* ``applications_page_check`` finds pages that have no URL any more; see :mod:`.permission`;
* the functions that make the keys of caches know nothing of the URLs; see :mod:`.caches`.
"""

from __future__ import annotations

from .state import State


def replace_recurse_patterns() -> None:
    """To be called before any app is ready: from then on, anything may build URLs."""
    from cms import appresolver

    from .patterns import recurse_patterns

    appresolver.recurse_patterns = recurse_patterns


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
