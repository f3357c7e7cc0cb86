"""Keeps what django CMS has cached with old apphook URLs from outliving them.

django CMS caches the nodes of menus for an hour and whole pages for a minute, with the URLs that
their apphooks had. A worker that is stale for a moment can put old ones there *after* the
editor's worker has cleared them; and a cache that each process has for itself, nobody else
clears at all.

So the keys are told apart by the token that a worker serves. Workers at different URLs share no
menu and no page, whoever writes when, and nothing has to be cleared: no query, no look-up. What
was cached for URLs that are gone expires unread.

The only module that puts something in the place of django CMS's own (two functions that make
keys; it offers no other way). What it wraps is the same in django CMS 4.1 to 5.1.
"""

from __future__ import annotations

import functools
from typing import Any

from cms.cache import page as page_cache
from menus.menu_pool import MenuRenderer

from .state import State

_STAMP = "_cms_urlreload_served"


def key_by_token(state: State) -> None:
    """Add the token that is served to the keys of cached menus and pages; once in a process, also
    where a test changes INSTALLED_APPS, and so has each app made ready again."""
    if not hasattr(page_cache._page_cache_key, "__wrapped__"):
        _key_menus(state)
        _key_pages(state)


def _served(state: State) -> str:
    return "" if state.applied is None else f":{state.applied.short}"


def _key_menus(state: State) -> None:
    own: property = MenuRenderer.cache_key

    def cache_key(renderer: Any) -> str:
        # menu_pool.clear() deletes the keys that were written, and so these too.
        return f"{own.__get__(renderer)}{_served(state)}"

    MenuRenderer.cache_key = property(cache_key)


def _key_pages(state: State) -> None:
    own = page_cache._page_cache_key

    @functools.wraps(own)
    def page_cache_key(request: Any, *args: Any, **kwargs: Any) -> str:
        # A request asks first and writes when it has rendered. What was served when it asked
        # counts, also if another request has refreshed this process in between.
        served = vars(request).setdefault(_STAMP, _served(state))
        return f"{own(request, *args, **kwargs)}{served}"

    page_cache._page_cache_key = page_cache_key
