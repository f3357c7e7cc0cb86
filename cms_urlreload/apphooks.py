"""The apphook URLs that the database asks for: which rows decide them, and the resolvers built
from those rows.

The only module that uses what builds URLs in django CMS, private parts of it included. It follows
``cms.appresolver._get_app_patterns`` with five differences: a database error is raised instead of
read as "no apphooks"; nothing is published while it builds; what did not change is used again;
the patterns of a page are made when they are asked for; and a permission check whose page is not
found denies instead of allowing.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from cms import appresolver
from cms.apphook_pool import apphook_pool
from cms.appresolver import get_app_urls, recurse_patterns
from cms.models import Page, PageUrl
from cms.utils.decorators import cms_perms
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponseBase
from django.urls import URLPattern, URLResolver
from django.utils.translation import override

from .hookresolver import Hooked, HookResolver, Pattern, is_appendable, literal_prefix

View = Callable[..., HttpResponseBase]

# Where a page keeps its place in the tree and its site: with a node of its own until django CMS
# 4.1, in its own row since 5.0.
_NODE = "node__" if any(field.name == "node" for field in Page._meta.concrete_fields) else ""
#: The model whose rows have the place in the tree and the site.
TREE_MODEL: Any = Page._meta.get_field("node").related_model if _NODE else Page
_PAGE_FIELDS = [field.attname for field in Page._meta.concrete_fields]
_NODE_FIELDS = [field.attname for field in TREE_MODEL._meta.concrete_fields] if _NODE else []
#: Lookups, from PageUrl, of all columns of the page, and of its node.
_PAGE_COLUMNS = tuple(
    [f"page__{name}" for name in _PAGE_FIELDS] + [f"page__{_NODE}{name}" for name in _NODE_FIELDS]
)
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
    resolver: HookResolver


class AppTree(NamedTuple):
    """All apphook resolvers of one state of the database, in the order in which they match."""

    hooks: dict[int, Hook]
    resolvers: list[HookResolver]


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
    lists = _Lists()
    for page, urls in _by_page(alias):
        app = apphook_pool.get_apphook(page.application_urls)
        if app is None:
            continue  # registered no more; django CMS has warned
        patterns = {url.language: _app_patterns(app, page, url.language) for url in urls}
        ingredients = (
            app,
            page.application_namespace,
            _site_of(page),
            tuple((*url, lists.flat(patterns[url.language])) for url in urls),
        )
        old = previous.hooks.get(page.pk) if previous else None
        if old is not None and old.ingredients == ingredients:
            hooks[page.pk] = old
        else:
            hooks[page.pk] = Hook(ingredients, _resolver(app, page, urls, patterns, lists))
    return AppTree(hooks, [hook.resolver for hook in hooks.values()])


class _Url(NamedTuple):
    language: str
    path: str


def _by_page(alias: str) -> Iterable[tuple[Any, list[_Url]]]:
    """Group the rows by page, later siblings first, without what would be hooked in twice."""
    pages: dict[int, tuple[Any, list[_Url]]] = {}
    seen = set()
    # One object for each page, and none for each URL: most pages have not changed.
    for language, path, application, page_id, *columns in _page_rows(alias, site_id()).all():
        identity = (path, application, language)
        if identity in seen:
            continue
        seen.add(identity)
        if page_id not in pages:
            pages[page_id] = (_page(alias, columns), [])
        pages[page_id][1].append(_Url(language, path))
    return pages.values()


@functools.lru_cache(maxsize=16)
def _page_rows(alias: str, site: int | None) -> QuerySet[Any, Any]:
    """Return the query for what resolvers are built from, unevaluated. To make it takes as long as
    the server needs for it."""
    # The site is in the rows' condition; it is a parameter here to be remembered by.
    rows = routed_urls(alias).order_by(f"-{TREE_PATH}", "language", "pk")
    return rows.values_list("language", "path", "page__application_urls", "page_id", *_PAGE_COLUMNS)


def _page(alias: str, columns: list[Any]) -> Any:
    """Return the page of a row, as a query for it would."""
    page = Page.from_db(alias, _PAGE_FIELDS, columns[: len(_PAGE_FIELDS)])
    if _NODE:
        page.node = TREE_MODEL.from_db(alias, _NODE_FIELDS, columns[len(_PAGE_FIELDS) :])
    return page


def _app_patterns(app: Any, page: Any, language: str) -> list[Sequence[Pattern]]:
    """Return the lists of patterns that the app hangs on one URL of its page."""
    with override(language):
        return list(get_app_urls(app.get_urls(page, language)))


def _resolver(
    app: Any,
    page: Any,
    urls: list[_Url],
    patterns: dict[str, list[Sequence[Pattern]]],
    lists: _Lists,
) -> HookResolver:
    hooked = {}
    for url in urls:
        below = patterns[url.language]
        make = functools.partial(_hook_in, app, page.pk, _site_of(page), url, below)
        prefix = literal_prefix(_prefix(url.path), lists.are_appendable(below, url.language))
        hooked[url.language] = Hooked(prefix, make)
    resolver = HookResolver(
        app.app_name,
        page.application_namespace,
        page.pk,
        hooked,
        lists.views(patterns.values()),
    )
    if lists.are_new(app, patterns):
        # What is wrong with an app is to be found now, and not by a request.
        list(resolver.url_patterns_dict.values())
    return resolver


def _hook_in(
    app: Any, page_id: int, page_site: int, url: _Url, below: list[Sequence[Pattern]]
) -> list[Pattern]:
    """Make the patterns of one URL of a page."""
    hooked: list[Pattern] = []
    # A regular expression may be translated: it is read in the language of the URL.
    with override(url.language):
        for pattern_list in below:
            hooked += recurse_patterns(_prefix(url.path), pattern_list, page_id)
    if app.permissions:
        _protect(hooked, app.exclude_permissions, page_id)
    if site_id() is None:
        appresolver._set_site_filter(hooked, page_site)
    return hooked


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


class _Lists:
    """What is to be known of the lists of patterns that apps return. Most pages share few lists,
    so each is looked at once a build."""

    def __init__(self) -> None:
        # The list is kept beside the result, so that its id is not given to another meanwhile.
        self._flat: dict[int, tuple[Sequence[Pattern], tuple[Pattern, ...]]] = {}
        self._appendable: dict[tuple[int, str], bool] = {}
        self._views: dict[int, frozenset[str]] = {}
        self._made: set[tuple[Any, ...]] = set()

    def flat(self, lists: Iterable[Sequence[Pattern]]) -> tuple[tuple[Pattern, ...], ...]:
        """Return all patterns in and below the lists, to be compared.

        Patterns have no equality of their own, so identities are compared: an app that returns
        the same objects is unchanged, one that makes new ones is built again.
        """
        return tuple(self._flat_list(each) for each in lists)

    def _flat_list(self, patterns: Sequence[Pattern]) -> tuple[Pattern, ...]:
        known = self._flat.get(id(patterns))
        if known is None:
            known = self._flat[id(patterns)] = (patterns, tuple(self._walk(patterns)))
        return known[1]

    def _walk(self, patterns: Sequence[Pattern]) -> Iterator[Pattern]:
        for pattern in patterns:
            yield pattern
            if isinstance(pattern, URLResolver):
                yield from self._flat_list(pattern.url_patterns)

    def are_appendable(self, lists: Iterable[Sequence[Pattern]], language: str) -> bool:
        """Whether a path that these match below another begins with that other."""
        return all(self._is_appendable(each, language) for each in lists)

    def _is_appendable(self, patterns: Sequence[Pattern], language: str) -> bool:
        key = (id(patterns), language)
        if key not in self._appendable:
            with override(language):
                self._appendable[key] = all(map(is_appendable, patterns))
        return self._appendable[key]

    def views(self, by_language: Iterable[Iterable[Sequence[Pattern]]]) -> set[str]:
        """Return the names of all views."""
        return {name for lists in by_language for each in lists for name in self._views_of(each)}

    def _views_of(self, patterns: Sequence[Pattern]) -> frozenset[str]:
        if id(patterns) not in self._views:
            flat = self._flat_list(patterns)
            names = (each.lookup_str for each in flat if isinstance(each, URLPattern))
            self._views[id(patterns)] = frozenset(names)
        return self._views[id(patterns)]

    def are_new(self, app: Any, by_language: Mapping[str, Iterable[Sequence[Pattern]]]) -> bool:
        """Whether this build has not come across an app with these lists yet."""
        lists = tuple((name, *map(id, lists)) for name, lists in by_language.items())
        known = (app, lists) in self._made
        self._made.add((app, lists))
        return not known
