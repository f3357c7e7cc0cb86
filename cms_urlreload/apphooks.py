"""The apphook URLs that the database asks for: which rows decide them, and the resolvers built
from those rows.

The only module that uses what builds URLs in django CMS, private parts of it included. It follows
``cms.appresolver._get_app_patterns`` with four differences: a database error is raised instead of
read as "no apphooks"; nothing is published while it builds; what did not change is used again;
and a permission check whose page is not found denies instead of allowing.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from typing import Any, NamedTuple

from cms import appresolver
from cms.apphook_pool import apphook_pool
from cms.appresolver import AppRegexURLResolver, get_app_urls, recurse_patterns
from cms.models import Page, PageUrl
from cms.utils.decorators import cms_perms
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponseBase
from django.urls import URLPattern, URLResolver
from django.urls.resolvers import RegexPattern
from django.utils.translation import override

View = Callable[..., HttpResponseBase]
Pattern = URLPattern | URLResolver

# Where a page keeps its place in the tree and its site: with a node of its own until django CMS
# 4.1, in its own row since 5.0.
_NODE = "node__" if any(field.name == "node" for field in Page._meta.get_fields()) else ""
#: The model whose rows have the place in the tree and the site.
TREE_MODEL: Any = Page._meta.get_field("node").related_model if _NODE else Page
_NODE_RELATION = ("page__node",) if _NODE else ()
#: Lookup, from PageUrl, of the column that orders apphooks against each other.
TREE_PATH = f"page__{_NODE}path"
#: Lookups, from PageUrl, of all other columns that decide routing, texts and integers. Since
#: django CMS 5.1 a URL keeps its page's site in its own row as well, and is selected by that.
ROUTING_TEXTS = ("path", "language", "page__application_urls", "page__application_namespace")
ROUTING_NUMBERS = (
    "page_id",
    f"page__{_NODE}site_id",
    *("site_id" for field in PageUrl._meta.concrete_fields if field.attname == "site_id"),
)
ROUTING_COLUMNS = ROUTING_TEXTS + ROUTING_NUMBERS


class Hook(NamedTuple):
    """The resolver of one page's apphook, and all that it was made of."""

    ingredients: tuple[Any, ...]
    resolver: AppRegexURLResolver


class AppTree(NamedTuple):
    """All apphook resolvers of one state of the database, in the order in which they match."""

    hooks: dict[int, Hook]
    resolvers: list[AppRegexURLResolver]


def site_id() -> int | None:
    """Return the site whose apphooks this process serves; None for all (no ``SITE_ID``).

    :raises ImproperlyConfigured: without ``SITE_ID``, before django CMS 5.1.
    """
    value = getattr(settings, "SITE_ID", None)
    if value is not None:
        return int(value)
    # Without the filter, the apphooks of each site would answer on all of them.
    if not hasattr(appresolver, "_set_site_filter"):
        raise ImproperlyConfigured("SITE_ID is not set: django CMS needs it before version 5.1.")
    return None


def routed_urls(alias: str) -> QuerySet[Any]:
    """Return the rows of PageUrl that apphooks hang on, in no order, unevaluated."""
    urls = PageUrl.objects.db_manager(alias)
    site = site_id()
    urls = urls.all() if site is None else urls.get_for_site(site)
    urls = urls.filter(path__isnull=False, page__application_urls__isnull=False)
    return urls.exclude(page__application_urls="")  # type: ignore[no-any-return]


def build(alias: str, previous: AppTree | None = None) -> AppTree:
    """Build the resolvers of all apphooks, in one query, and publish nothing.

    Executes the ``get_urls()`` of the apphooks, as django CMS does, and lets what they raise
    pass.

    :param alias: the database to read.
    :param previous: a tree whose resolvers are used again for pages where nothing changed.
    """
    hooks: dict[int, Hook] = {}
    flatten = _Flattener()
    for page, urls in _by_page(alias):
        app = apphook_pool.get_apphook(page.application_urls)
        if app is None:
            continue  # registered no more; django CMS has warned
        patterns = {url.language: _app_patterns(app, url) for url in urls}
        ingredients = (
            app,
            page.application_namespace,
            _site_of(page),
            tuple((url.language, url.path, flatten(patterns[url.language])) for url in urls),
        )
        old = previous.hooks.get(page.pk) if previous else None
        if old is not None and old.ingredients == ingredients:
            hooks[page.pk] = old
        else:
            hooks[page.pk] = Hook(ingredients, _resolver(app, page, urls, patterns))
    return AppTree(hooks, [hook.resolver for hook in hooks.values()])


def _by_page(alias: str) -> Iterable[tuple[Any, list[Any]]]:
    """Group the rows by page, later siblings first, without what would be hooked in twice."""
    pages: dict[int, tuple[Any, list[Any]]] = {}
    seen = set()
    rows = routed_urls(alias).select_related("page", *_NODE_RELATION)
    rows = rows.order_by(f"-{TREE_PATH}", "language", "pk")
    for url in rows:
        identity = (url.path, url.page.application_urls, url.language)
        if identity not in seen:
            seen.add(identity)
            pages.setdefault(url.page_id, (url.page, []))[1].append(url)
    return pages.values()


def _app_patterns(app: Any, url: Any) -> list[Sequence[Pattern]]:
    """Return the lists of patterns that the app hangs on one URL of its page."""
    with override(url.language):
        return list(get_app_urls(app.get_urls(url.page, url.language)))


def _resolver(
    app: Any, page: Any, urls: list[Any], patterns: dict[str, list[Sequence[Pattern]]]
) -> AppRegexURLResolver:
    resolver = AppRegexURLResolver(
        RegexPattern(r""),
        "app_resolver",
        app_name=app.app_name,
        namespace=page.application_namespace,
    )
    resolver.page_id = page.pk
    for url in urls:
        hooked: list[Pattern] = []
        # A regular expression may be translated: it is read in the language of the URL.
        with override(url.language):
            for pattern_list in patterns[url.language]:
                hooked += recurse_patterns(_prefix(url.path), pattern_list, page.pk)
        if app.permissions:
            _protect(hooked, app.exclude_permissions, page.pk)
        if site_id() is None:
            appresolver._set_site_filter(hooked, _site_of(page))
        resolver.url_patterns_dict[url.language] = hooked
    return resolver


def _prefix(path: str) -> str:
    return path + "/" if path and not path.endswith("/") else path


def _site_of(page: Any) -> int:
    return page.node.site_id if _NODE else page.site_id  # type: ignore[no-any-return]


def _protect(patterns: Iterable[Pattern], excluded: Collection[str | None], page_id: int) -> None:
    for pattern in patterns:
        if isinstance(pattern, URLPattern):
            pattern.callback = _require_page(cms_perms(pattern.callback), page_id)
        elif pattern.namespace not in excluded:
            _protect(pattern.url_patterns, excluded, page_id)


def _require_page(view: View, page_id: int) -> View:
    """Give ``cms_perms`` the page whose permission it checks.

    It looks that page up by the path of the request, a second time after the URL was resolved,
    and *skips the check* if it finds none: as it does when the page moved or went in between.
    The pattern knows its page, so there is always one to check, or nothing to show.
    """

    @functools.wraps(view)
    def with_page(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        if not request.current_page:  # type: ignore[attr-defined]
            page = Page.objects.filter(pk=page_id).first()
            if page is None:
                raise Http404("The page of this apphook is gone.")
            request.current_page = page  # type: ignore[attr-defined]
        return view(request, *args, **kwargs)

    return with_page


class _Flattener:
    """Turns lists of patterns into tuples of all patterns below them, to be compared.

    Patterns have no equality of their own, so this compares identities: an app that returns
    the same objects is unchanged, one that makes new ones is built again. Most pages share few
    lists, so each is walked once a build.
    """

    def __init__(self) -> None:
        # The list is kept beside the result, so that its id is not given to another meanwhile.
        self._done: dict[int, tuple[Sequence[Pattern], tuple[Pattern, ...]]] = {}

    def __call__(self, pattern_lists: Iterable[Sequence[Pattern]]) -> tuple[Any, ...]:
        return tuple(self._flat(pattern_list) for pattern_list in pattern_lists)

    def _flat(self, patterns: Sequence[Pattern]) -> tuple[Pattern, ...]:
        known = self._done.get(id(patterns))
        if known is None:
            known = self._done[id(patterns)] = (patterns, tuple(self._walk(patterns)))
        return known[1]

    def _walk(self, patterns: Sequence[Pattern]) -> Iterator[Pattern]:
        for pattern in patterns:
            yield pattern
            if isinstance(pattern, URLResolver):
                yield from self._flat(pattern.url_patterns)
