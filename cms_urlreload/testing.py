"""For the tests of sites and apps: apphook pages that a test creates have their URLs.

A test's transaction is never committed, so a process that is right refreshes nothing in it. Inside
:func:`current_urls` it does, and at the end the URLs are what they were before::

    class StoryTests(TestCase):
        def test_list(self):
            with current_urls() as refresh:
                create_page(..., apphook="NewsApphook", apphook_namespace="news")
                self.client.get("/en/news/first-story/")  # by the middleware
                refresh()
                reverse("news:story-list")  # no request came before it

The fixture ``current_urls`` gives the same to pytest; see :mod:`cms_urlreload.pytest_plugin`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from .process import reloader, state


@contextmanager
def current_urls() -> Iterator[Callable[[], None]]:
    """Have the URLs of this process follow what the test writes, committed or not.

    Each request that goes through the middleware is answered from the URLs of what was saved
    before it. The value is a function, ``refresh()``, to be called before a ``reverse()`` or
    ``resolve()`` without a request; and after what no signal of Django's tells of: SQL,
    ``queryset.update()``, a move in the page tree, a rollback to a savepoint. It raises
    RuntimeError if the URLs cannot be built.

    Makes no query by itself, and starts no thread. May be nested, and begun and ended inside or
    outside of a transaction.
    """
    with reloader.trial():
        yield _refresh


def _refresh() -> None:
    state.mark_dirty("test")
    reloader.refresh()
    if reloader.failure is not None:
        raise RuntimeError(f"The apphook URLs could not be built: {reloader.failure}")
