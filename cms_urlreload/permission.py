"""Checks the permission of an apphook's views: always that of the page which their resolver was
built for.

``cms.utils.decorators.cms_perms`` checks ``request.current_page``, which django CMS looks up by the
path of the request, in the database of the moment; and nothing if it finds no page. The view was
found by the URLs of this process, which may be older. Where pages have moved in between, the two
are of different pages: a members' view would be shown with the permission of a public page.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from time import monotonic
from types import ModuleType
from typing import Any

from asgiref.sync import iscoroutinefunction, sync_to_async
from cms.utils.decorators import cms_perms
from django.http import Http404, HttpRequest, HttpResponseBase
from django.urls import Resolver404, resolve

View = Callable[..., Any]
#: Returns the response in place of a view's; None if the view may answer. May raise Http404.
Refuse = Callable[[Any], HttpResponseBase | None]

_GUARD = "cms_urlreload_guard"


def allow(request: HttpRequest) -> None:
    """The view of a check that has nothing but its answer."""


_check: Refuse = cms_perms(allow)


def _check_as(request: Any, page: Any) -> HttpResponseBase | None:
    """Check the permission of another page than the current one, as django CMS does."""
    current, request.current_page = request.current_page, page
    try:
        return _check(request)
    finally:
        request.current_page = current


@functools.cache
def _process() -> ModuleType:
    from . import process  # not above: it imports what builds the URLs, and so this module

    return process


def _is_in_doubt() -> bool:
    return _process().state.is_due(monotonic())  # type: ignore[no-any-return]


class PageGuard:
    """Says who may see the views of one page's apphook, in one language.

    :param page_id: the page that their resolver was built for.
    :param application: the name of the apphook, as the page has it.
    :param find: return the page from the database if it still has that apphook and a URL in that
        language, else None.
    """

    __slots__ = ("application", "find", "page_id")

    def __init__(self, page_id: int, application: str, find: Callable[[], Any]) -> None:
        self.page_id = page_id
        self.application = application
        self.find = find

    def __call__(self, request: Any) -> HttpResponseBase | None:
        """Return the response for somebody who may not see them; None for all others.

        :raises Http404: if the page is gone, unpublished, or has the apphook no more; and as
            django CMS does.
        """
        current = request.current_page
        is_own = bool(current) and current.pk == self.page_id
        if is_own and not _is_in_doubt():
            # It was read for this request. See find_page() for a page with no URL any more.
            if current.application_urls != self.application:
                raise Http404("The page of this apphook has it no more.")
            return _check(request)
        page = self.find()
        if page is None:
            raise Http404("The page of this apphook is gone.")
        if not current:
            request.current_page = page
        elif not is_own:
            # A page below, whose path the apphook answers as well: django CMS checks that one.
            refusal = _check(request)
            if refusal is not None:
                return refusal
        return _check_as(request, page)


def guarded(app_view: View, refuse: Refuse) -> View:
    """Wrap a view: it answers if ``refuse`` returns None for the request.

    The wrapper has all attributes of the view (``csrf_exempt``, ``login_required``), and is a
    coroutine where the view is one.
    """

    # The toolbar of django CMS takes the app of a view from the first variable of its closure, in
    # the order of the alphabet: that must be the view.
    async def answer_async(request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
        refusal = await sync_to_async(refuse, thread_sensitive=True)(request)
        return await app_view(request, *args, **kwargs) if refusal is None else refusal

    def answer(request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
        refusal = refuse(request)
        return app_view(request, *args, **kwargs) if refusal is None else refusal

    view: View = answer_async if iscoroutinefunction(app_view) else answer
    functools.update_wrapper(view, cms_perms(app_view))  # its names, also of a view without any
    vars(view).update({**getattr(app_view, "__dict__", {}), "__wrapped__": app_view})
    if isinstance(refuse, PageGuard):
        setattr(view, _GUARD, refuse)
    return view


def find_page(own: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Take the place of ``cms.appresolver.applications_page_check``, which finds the page of a
    request by the apphook that answers it, where no page has that path.

    That takes the page's id from the URLs of this process and reads its row. So does this, in one
    query as well, but only while the page has a URL: else a page that was unpublished would be
    found for as long as the URLs are old.
    """

    @functools.wraps(own)
    def applications_page_check(request: Any) -> Any:
        guard = _guard_of(request)
        return own(request) if guard is None else guard.find()

    return applications_page_check


def _guard_of(request: Any) -> PageGuard | None:
    match = getattr(request, "resolver_match", None)
    if match is None:  # a middleware asks
        try:
            match = resolve(request.path_info, getattr(request, "urlconf", None))
        except Resolver404:
            return None
    return getattr(match.func, _GUARD, None)
