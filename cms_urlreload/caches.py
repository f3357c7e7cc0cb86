"""Keeps what django CMS has cached with old apphook URLs from outliving them.

django CMS caches the nodes of menus for an hour, and whole pages, placeholders and the URLs of
``{% page_url %}`` for a minute, with the URLs that their apphooks had. A worker that is stale for a
moment can put old ones there *after* the editor's worker has cleared them; and a cache that each
process has for itself, nobody else clears at all.

So the keys are told apart by the token that a worker serves. Workers at different URLs share
nothing of it, whoever writes when, and nothing has to be cleared: no query, no look-up. What was
cached for URLs that are gone expires unread. Clearing works as ever.

The functions here wrap those of django CMS that make keys; :mod:`.overrides` puts them in place.
What a template fragment, a plugin or a proxy caches by itself has keys of its own.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from .state import State

_STAMP = "_cms_urlreload_served"

Key = Callable[..., str]


def _served(state: State) -> str:
    return "" if state.applied is None else f":{state.applied.short}"


def _served_to(request: Any, state: State) -> str:
    """Return what was served when a request asked a cache first.

    It asks first and writes when it has rendered. What was served when it asked counts, also if
    another request has refreshed this process in between.
    """
    own = getattr(request, "__dict__", None)
    served: str = _served(state) if own is None else own.setdefault(_STAMP, _served(state))
    return served


def menu_key(own: property, state: State) -> property:
    """Wrap ``MenuRenderer.cache_key``."""

    def cache_key(renderer: Any) -> str:
        # menu_pool.clear() deletes the keys that were written, and so these too.
        return f"{own.__get__(renderer)}{_served(state)}"

    return property(cache_key)


def page_key(own: Key, state: State) -> Key:
    """Wrap ``cms.cache.page._page_cache_key``."""

    @functools.wraps(own)
    def page_cache_key(request: Any, *args: Any, **kwargs: Any) -> str:
        return f"{own(request, *args, **kwargs)}{_served_to(request, state)}"

    return page_cache_key


def placeholder_key(own: Key, state: State) -> Key:
    """Wrap ``cms.cache.placeholder._get_placeholder_cache_key``. It has in it a version, which is
    kept under a key of its own: a placeholder is cleared by another version, for all tokens."""

    @functools.wraps(own)
    def placeholder_cache_key(
        placeholder: Any, lang: str, site_id: int, request: Any, *args: Any, **kwargs: Any
    ) -> str:
        key = own(placeholder, lang, site_id, request, *args, **kwargs)
        return f"{key}{_served_to(request, state)}"

    return placeholder_cache_key


def page_url_key(own: Key, state: State) -> Key:
    """Wrap ``cms.cache.page._page_url_key``, which knows no request."""

    @functools.wraps(own)
    def cache_key(*args: Any, **kwargs: Any) -> str:
        return f"{own(*args, **kwargs)}{_served(state)}"

    return cache_key
